#include "capture/own_weight.hpp"

namespace moescope::capture {

own_weight::own_weight(const ggml_api & api, ggml_backend_t backend, ggml_type type, int64_t n0, int64_t n1,
                       const char * name)
    : api_(api) {
    ggml_init_params params = {};
    params.mem_size         = api_.ggml_tensor_overhead();
    params.no_alloc         = true;
    context_                = api_.ggml_init(params);
    if (context_ == nullptr) {
        return;
    }
    tensor_ = api_.ggml_new_tensor_2d(context_, type, n0, n1);
    api_.ggml_set_name(tensor_, name);
    // The type in which the backend computes, not that of its repacked or split weights.
    buffer_ =
        api_.ggml_backend_alloc_ctx_tensors_from_buft(context_, api_.ggml_backend_get_default_buffer_type(backend));
    if (buffer_ != nullptr) {
        api_.ggml_backend_buffer_set_usage(buffer_, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    }
}

own_weight::~own_weight() {
    if (buffer_ != nullptr) {
        api_.ggml_backend_buffer_free(buffer_);
    }
    if (context_ != nullptr) {
        api_.ggml_free(context_);
    }
}

void own_weight::set(const void * values) const {
    api_.ggml_backend_tensor_set(tensor_, values, 0, api_.ggml_nbytes(tensor_));
}

}  // namespace moescope::capture
