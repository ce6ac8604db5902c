#include "infer/backends.hpp"

#include <dlfcn.h>

#include "ggml-backend.h"

namespace moescope::infer {

void load_backends() {
    const std::string folder = own_ggml_folder();
    if (ggml_backend_reg_count() > 0 || folder.empty()) {
        return;
    }
    ggml_log_callback log      = nullptr;
    void *            log_data = nullptr;
    ggml_log_get(&log, &log_data);
    ggml_log_set([](ggml_log_level, const char *, void *) {}, nullptr);  // it names each module that it loads
    ggml_backend_load_all_from_path(folder.c_str());
    ggml_log_set(log, log_data);
}

std::vector<std::string> list_devices() {
    load_backends();
    std::vector<std::string> lines;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        lines.push_back(std::string(ggml_backend_dev_name(device)) + ": " + ggml_backend_dev_description(device));
    }
    return lines;
}

std::string own_ggml_version() {
    return ggml_version();
}

std::string own_ggml_folder() {
    Dl_info libggml = {};
    if (::dladdr(reinterpret_cast<void *>(&ggml_backend_reg_count), &libggml) == 0) {
        return {};
    }
    const std::string path = libggml.dli_fname;
    return path.substr(0, path.find_last_of('/'));
}

}  // namespace moescope::infer
