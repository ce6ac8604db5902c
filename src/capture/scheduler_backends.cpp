#include "capture/scheduler_backends.hpp"

namespace moescope::capture {

scheduler_backends::scheduler_backends(const ggml_api & api, ggml_backend_sched_t sched) : api_(api) {
    for (int i = 0; i < api_.ggml_backend_sched_get_n_backends(sched); ++i) {
        ggml_backend_t     backend = api_.ggml_backend_sched_get_backend(sched, i);
        ggml_backend_dev_t device  = api_.ggml_backend_get_device(backend);
        const auto         type    = device ? api_.ggml_backend_dev_type(device) : GGML_BACKEND_DEVICE_TYPE_GPU;
        all_.push_back(backend);
        if (type == GGML_BACKEND_DEVICE_TYPE_CPU) {
            cpu_ = backend;
        } else if (type != GGML_BACKEND_DEVICE_TYPE_ACCEL) {  // an accelerator such as BLAS works in host memory
            cpu_only_ = false;
        }
    }
    cpu_only_ = cpu_only_ && cpu_ != nullptr;
}

ggml_backend_t scheduler_backends::holding(const ggml_tensor * weight) const {
    const ggml_backend_buffer_t buffer = weight->view_src ? weight->view_src->buffer : weight->buffer;
    if (buffer == nullptr) {
        return nullptr;
    }
    for (ggml_backend_t backend : all_) {
        if (api_.ggml_backend_supports_buft(backend, api_.ggml_backend_buffer_get_type(buffer))) {
            return backend;
        }
    }
    return nullptr;
}

}  // namespace moescope::capture
