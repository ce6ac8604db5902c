#include "capture/hooks/reached.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>

#include <link.h>

#include "capture/ggml_api.hpp"

namespace moescope::capture {

namespace {

constexpr size_t max_libraries = 64;  // that call ggml; of more, the last are looked up at every call

std::array<reached_functions, max_libraries> libraries;  // only ever appended to: readers take no lock
std::atomic<size_t>                          n_libraries{0};
std::mutex appending;  // no lookup happens under it: the dynamic linker has locks of its own

// Sets begin and end to the loaded object that `in_library` lies in; leaves them where there is none (code made at run time).
void set_range(reached_functions & r, void * in_library) {
    struct search {
        uintptr_t           address;
        reached_functions & found;
    } wanted{reinterpret_cast<uintptr_t>(in_library), r};
    dl_iterate_phdr(
        [](dl_phdr_info * object, size_t, void * to) {
            const auto & [address, found] = *static_cast<search *>(to);
            uintptr_t begin = UINTPTR_MAX, end = 0;
            for (int i = 0; i < object->dlpi_phnum; ++i) {
                const auto & segment = object->dlpi_phdr[i];
                if (segment.p_type == PT_LOAD) {
                    begin = std::min<uintptr_t>(begin, object->dlpi_addr + segment.p_vaddr);
                    end   = std::max<uintptr_t>(end, object->dlpi_addr + segment.p_vaddr + segment.p_memsz);
                }
            }
            if (address < begin || address >= end) {
                return 0;
            }
            found.begin = begin;
            found.end   = end;
            return 1;
        },
        &wanted);
}

const reached_functions * find(uintptr_t caller) {
    const size_t n = n_libraries.load(std::memory_order_acquire);
    for (size_t i = 0; i < n; ++i) {
        if (caller >= libraries[i].begin && caller < libraries[i].end) {
            return &libraries[i];
        }
    }
    return nullptr;
}

reached_functions look_up(void * caller) {
    reached_functions   r;
    const library_scope scope(caller);
#define X(name) r.name = reinterpret_cast<decltype(&::name)>(scope.find(#name));
    MOESCOPE_HOOKED_FUNCTIONS(X)
#undef X
    set_range(r, caller);
    // Who depends on no ggml and calls it all the same was handed the address (a foreign-function layer, code made at run
    // time): the first copy is the likely one.
    if (r.copy() == nullptr && n_libraries.load(std::memory_order_acquire) > 0) {
        const uintptr_t begin = r.begin, end = r.end;
        r       = libraries[0];
        r.begin = begin;
        r.end   = end;
    }
    return r;
}

}  // namespace

const reached_functions & reached_from(void * caller) noexcept {
    if (const reached_functions * known = find(reinterpret_cast<uintptr_t>(caller))) {
        return *known;
    }
    thread_local reached_functions found;
    found = look_up(caller);
    const std::lock_guard lock(appending);
    if (const reached_functions * known = find(reinterpret_cast<uintptr_t>(caller))) {
        return *known;  // another thread was faster
    }
    const size_t n = n_libraries.load(std::memory_order_relaxed);
    if (n == max_libraries || (n > 0 && found.begin == found.end)) {
        return found;
    }
    libraries[n] = found;
    n_libraries.store(n + 1, std::memory_order_release);
    return libraries[n];
}

}  // namespace moescope::capture
