#include "infer/backends.hpp"

#include <string>

#include <dlfcn.h>

#include "ggml-backend.h"

namespace moescope::infer {

void load_backends() {
    Dl_info libggml = {};
    if (ggml_backend_reg_count() > 0 || ::dladdr(reinterpret_cast<void *>(&ggml_backend_reg_count), &libggml) == 0) {
        return;
    }
    ggml_log_callback log      = nullptr;
    void *            log_data = nullptr;
    ggml_log_get(&log, &log_data);
    ggml_log_set([](ggml_log_level, const char *, void *) {}, nullptr);  // it names each module that it loads
    const std::string path = libggml.dli_fname;
    ggml_backend_load_all_from_path(path.substr(0, path.find_last_of('/')).c_str());
    ggml_log_set(log, log_data);
}

}  // namespace moescope::infer
