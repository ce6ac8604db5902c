#include "report/cairo_library.hpp"

#include <string>

#include <dlfcn.h>

#include "core/error.hpp"

namespace moescope::report {

namespace {

constexpr char cairo_file[] = "libcairo.so.2";

cairo_library load_cairo() {
    void * library = ::dlopen(cairo_file, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        throw error(std::string("charts are drawn with cairo, and ") + cairo_file + " is not installed")
            .fix("install it (Debian: libcairo2)");
    }
    const auto find = [&](const char * name) {
        void * function = ::dlsym(library, name);
        if (function == nullptr) {
            throw error(std::string("no function ") + name).in(cairo_file).fix("install cairo 1.16 or newer");
        }
        return function;
    };
    cairo_library c;
#define X(name) c.name = reinterpret_cast<decltype(c.name)>(find("cairo_" #name));
    MOESCOPE_CAIRO_FUNCTIONS(X)
#undef X
    return c;
}

}  // namespace

const cairo_library & cairo() {
    static const cairo_library loaded = load_cairo();
    return loaded;
}

}  // namespace moescope::report
