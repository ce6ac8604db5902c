// libFuzzer target: anything given as a file of another engine, or as the pickle inside of one, is read or refused, never
// crashed on, and its ids stay below n_expert.
//   cmake --preset fuzz && cmake --build --preset fuzz
//   build-fuzz/tests/engines_fuzz corpus tests/fuzz/engines_corpus

#include <cstdint>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "core/error.hpp"
#include "core/expert_counts.hpp"
#include "logs/arrays/pickle.hpp"
#include "logs/open.hpp"

namespace {

using namespace moescope;

// Everything that can be reached from a value, as deep as readers go.
uint64_t touch(logs::pickle::ref value, int depth) {
    uint64_t sum = static_cast<uint64_t>(value.integer()) + value.text().size() + (value.real() > 0);
    for (size_t i = 0; i < value.size() && i < 64 && depth > 0; ++i) {
        sum += touch(value.key(i), 0) + touch(value.at(i), depth - 1);
    }
    return sum + (value.as_tensor() != nullptr);
}

void read_source(const std::string & path) {
    const auto    source = logs::open_source(path);
    expert_counts counts;
    for (routed_ubatch u; source->next(u);) {
        for (const block_rows & b : u.blocks) {
            for (size_t i = 0; i < size_t(b.n_rows) * b.layout->n_expert_used; ++i) {
                if (b.id(i) >= b.layout->n_expert) {
                    __builtin_trap();
                }
            }
            for (uint32_t r = 0; r < b.n_rows; ++r) {
                if (b.token_of(r) < -1 || b.token_of(r) >= static_cast<int32_t>(u.n_tokens())) {
                    __builtin_trap();
                }
            }
        }
        counts.add(u);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    try {
        const logs::pickle value({data, size});
        volatile uint64_t  sum = touch(value.root(), 4);
        (void)sum;
    } catch (const error &) {
    }
    const int fd = ::memfd_create("engines", 0);
    if (fd < 0 || ::write(fd, data, size) != static_cast<ssize_t>(size)) {
        return 0;
    }
    try {
        read_source("/proc/self/fd/" + std::to_string(fd));
    } catch (const error &) {
    }
    ::close(fd);
    return 0;
}
