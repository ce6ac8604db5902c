#include "capture/ggml_api.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <link.h>

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

// The loaded library that defines a function itself or through what it depends on; null when none does.
void * library_with(const char * function) {
    std::vector<std::string> names;
    dl_iterate_phdr([](dl_phdr_info * info, size_t, void * to) {
        static_cast<std::vector<std::string> *>(to)->emplace_back(info->dlpi_name);
        return 0;
    }, &names);
    for (const std::string & name : names) {
        void * library = name.empty() ? nullptr : dlopen(name.c_str(), RTLD_NOLOAD | RTLD_LAZY);
        Dl_info here, there;
        void *  found = library != nullptr ? dlsym(library, function) : nullptr;
        // Not our own definition of it.
        if (found != nullptr && dladdr(found, &there) != 0 && dladdr(reinterpret_cast<void *>(&library_of), &here) != 0 &&
            here.dli_fbase != there.dli_fbase) {
            return library;   // and keeps it loaded: its functions will be called
        }
        if (library != nullptr) {
            dlclose(library);
        }
    }
    return nullptr;
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
    // The first call may come from ggml itself, which knows nothing of llama.
    if (find_in(library, "llama_get_model") == nullptr) {
        library = library_with("llama_get_model");
    }
#define X(name) name = reinterpret_cast<decltype(&::name)>(find_in(library, #name));
    MOESCOPE_LLAMA_FUNCTIONS(X)
#undef X
    return missing.empty() && number_operations(missing);
}

bool ggml_api::number_operations(std::string & missing) {
    struct wanted {
        ggml_op      op;
        const char * name;
    };
    constexpr wanted all[] = {
        {GGML_OP_ADD, "ADD"},           {GGML_OP_MUL, "MUL"},           {GGML_OP_SQRT, "SQRT"},
        {GGML_OP_REPEAT, "REPEAT"},     {GGML_OP_MUL_MAT, "MUL_MAT"},   {GGML_OP_MUL_MAT_ID, "MUL_MAT_ID"},
        {GGML_OP_SCALE, "SCALE"},       {GGML_OP_CONT, "CONT"},         {GGML_OP_RESHAPE, "RESHAPE"},
        {GGML_OP_VIEW, "VIEW"},         {GGML_OP_GET_ROWS, "GET_ROWS"}, {GGML_OP_SOFT_MAX, "SOFT_MAX"},
        {GGML_OP_ROPE, "ROPE"},         {GGML_OP_ARGSORT, "ARGSORT"},   {GGML_OP_UNARY, "UNARY"},
    };
    constexpr int drift = 16;   // more operations than any version we know has put in front of these
    for (const wanted & w : all) {
        int found = -1;
        for (int code = std::max(0, w.op - drift); code <= w.op && found < 0; ++code) {
            found = std::strcmp(ggml_op_name(static_cast<ggml_op>(code)), w.name) == 0 ? code : -1;
        }
        if (found < 0) {
            missing = std::string("operation ") + w.name;
            return false;
        }
        op_code[w.op] = found;
    }
    return true;
}

}  // namespace moescope::capturing
