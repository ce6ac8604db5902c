#include "capture/ggml_api.hpp"

#include <cstring>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <link.h>

namespace moescope::capture {

namespace {

// An address in the loaded library that defines a function itself or through what it depends on, and that uses the given
// copy of ggml; null when none does.
void * library_with(const char * function, const void * synchronize_of_its_ggml) {
    std::vector<std::string> names;
    dl_iterate_phdr(
        [](dl_phdr_info * info, size_t, void * to) {
            static_cast<std::vector<std::string> *>(to)->emplace_back(info->dlpi_name);
            return 0;
        },
        &names);
    for (const std::string & name : names) {
        void * library = name.empty() ? nullptr : dlopen(name.c_str(), RTLD_NOLOAD | RTLD_LAZY);
        if (library == nullptr) {
            continue;
        }
        void * const found = dlsym(library, function);
        const bool   fits =
            found != nullptr && dlsym(library, "ggml_backend_sched_synchronize") == synchronize_of_its_ggml;
        dlclose(library);
        if (fits) {
            return found;
        }
    }
    return nullptr;
}

}  // namespace

library_scope::library_scope(void * address) {
    Dl_info info;
    if (address != nullptr && dladdr(address, &info) != 0 && info.dli_fname != nullptr) {
        library_ = dlopen(info.dli_fname, RTLD_NOLOAD | RTLD_LAZY);
    }
}

void * library_scope::find(const char * function) const {
    void * const f = dlsym(RTLD_NEXT, function);
    return f != nullptr || library_ == nullptr ? f : dlsym(library_, function);
}

bool ggml_api::resolve(void * caller, std::string & missing) {
    library_scope scope(caller);
    missing.clear();
#define X(name)                                                    \
    name = reinterpret_cast<decltype(&::name)>(scope.find(#name)); \
    if (name == nullptr && missing.empty()) {                      \
        missing = #name;                                           \
    }
    MOESCOPE_GGML_FUNCTIONS(X)
#undef X
#define X(name) name = reinterpret_cast<decltype(&::name)>(scope.find(#name));
    MOESCOPE_MASK_FUNCTIONS(X)
    MOESCOPE_GRAM_FUNCTIONS(X)
#undef X
    // The first call may come from ggml itself, which knows nothing of llama.
    if (scope.find("llama_get_model") == nullptr) {
        scope =
            library_scope(library_with("llama_get_model", reinterpret_cast<void *>(ggml_backend_sched_synchronize)));
    }
#define X(name) name = reinterpret_cast<decltype(&::name)>(scope.find(#name));
    MOESCOPE_LLAMA_FUNCTIONS(X)
#undef X
    return missing.empty() && number_operations(missing);
}

const char * ggml_api::missing_for_masks() const {
#define X(name)            \
    if (name == nullptr) { \
        return #name;      \
    }
    MOESCOPE_MASK_FUNCTIONS(X)
#undef X
    return nullptr;
}

bool ggml_api::number_operations(std::string & missing) {
    struct wanted {
        ggml_op      op;
        const char * name;
    };
    constexpr wanted all[] = {
        {GGML_OP_ADD, "ADD"},       {GGML_OP_MUL, "MUL"},           {GGML_OP_SQRT, "SQRT"},
        {GGML_OP_REPEAT, "REPEAT"}, {GGML_OP_MUL_MAT, "MUL_MAT"},   {GGML_OP_MUL_MAT_ID, "MUL_MAT_ID"},
        {GGML_OP_SCALE, "SCALE"},   {GGML_OP_CONT, "CONT"},         {GGML_OP_RESHAPE, "RESHAPE"},
        {GGML_OP_VIEW, "VIEW"},     {GGML_OP_GET_ROWS, "GET_ROWS"}, {GGML_OP_SOFT_MAX, "SOFT_MAX"},
        {GGML_OP_ROPE, "ROPE"},     {GGML_OP_ARGSORT, "ARGSORT"},   {GGML_OP_UNARY, "UNARY"},
    };
    // Versions only put operations in front of these, so a name is found before the end of an older version's shorter table,
    // behind which ggml_op_name would read what is no name.
    for (const wanted & w : all) {
        int found = -1;
        for (int code = 0; code <= w.op && found < 0; ++code) {
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

}  // namespace moescope::capture
