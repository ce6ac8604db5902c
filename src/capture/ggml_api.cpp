#include "capture/ggml_api.hpp"

#include <dlfcn.h>

namespace moescope::capturing {

namespace {

void * library_of(void * address) {
    Dl_info info;
    if (address == nullptr || dladdr(address, &info) == 0 || info.dli_fname == nullptr) {
        return nullptr;
    }
    return dlopen(info.dli_fname, RTLD_NOLOAD | RTLD_LAZY);
}

void * find_in(void * library, const char * name) {
    void * f = dlsym(RTLD_NEXT, name);
    if (f == nullptr && library != nullptr) {
        f = dlsym(library, name);
    }
    return f;
}

}  // namespace

void * find_real(const char * name, void * caller) {
    void * f = dlsym(RTLD_NEXT, name);
    if (f != nullptr) {
        return f;
    }
    void * library = library_of(caller);
    return library == nullptr ? nullptr : dlsym(library, name);
}

bool ggml_api::resolve(void * caller, std::string & missing) {
    void * library = library_of(caller);
    missing.clear();
#define X(name)                                                                     \
    name = reinterpret_cast<decltype(&::name)>(find_in(library, #name));            \
    if (name == nullptr && missing.empty()) {                                       \
        missing = #name;                                                            \
    }
    MOESCOPE_GGML_FUNCTIONS(X)
#undef X
#define X(name) name = reinterpret_cast<decltype(&::name)>(find_in(library, #name));
    MOESCOPE_LLAMA_FUNCTIONS(X)
#undef X
    return missing.empty();
}

}  // namespace moescope::capturing
