#pragma once

#include "capture/ggml_api.hpp"

namespace moescope::capture {

// A tensor of moescope's own that graphs read as they read a model's weights: it lies where a backend keeps its weights, so
// that the scheduler computes with it there. It lives as long as this object, and must outlive what reads it.
class own_weight {
public:
    // [n0, n1], its values not set.
    own_weight(const ggml_api & api, ggml_backend_t backend, ggml_type type, int64_t n0, int64_t n1, const char * name);
    ~own_weight();
    own_weight(const own_weight &)             = delete;
    own_weight & operator=(const own_weight &) = delete;

    explicit      operator bool() const { return buffer_ != nullptr; }  // false: there was no memory
    ggml_tensor * tensor() const { return tensor_; }
    void          set(const void * values) const;  // all of them; nothing may compute with it meanwhile

private:
    const ggml_api &      api_;
    ggml_context *        context_ = nullptr;
    ggml_tensor *         tensor_  = nullptr;
    ggml_backend_buffer_t buffer_  = nullptr;
};

}  // namespace moescope::capture
