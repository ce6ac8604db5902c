#include "capture/node_values.hpp"

#include <cmath>
#include <cstring>

namespace moescope::capture {

const uint8_t * node_values::bytes(const ggml_tensor * t) {
    const ggml_backend_buffer_t buffer = t->view_src != nullptr ? t->view_src->buffer : t->buffer;
    if (buffer == nullptr || api_.ggml_backend_buffer_is_host(buffer)) {
        return static_cast<const uint8_t *>(t->data);
    }
    scratch_.resize(api_.ggml_nbytes(t));
    api_.ggml_backend_tensor_get(t, scratch_.data(), 0, scratch_.size());
    return scratch_.data();
}

namespace {

// All elements of a tensor of 32-bit values in order, by its strides.
template <class T>
std::vector<T> gather(const uint8_t * data, const ggml_tensor * t) {
    std::vector<T> out;
    out.reserve(static_cast<size_t>(t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]));
    for (int64_t i3 = 0; i3 < t->ne[3]; ++i3) {
        for (int64_t i2 = 0; i2 < t->ne[2]; ++i2) {
            for (int64_t i1 = 0; i1 < t->ne[1]; ++i1) {
                for (int64_t i0 = 0; i0 < t->ne[0]; ++i0) {
                    T v;
                    std::memcpy(&v,
                                data + size_t(i0) * t->nb[0] + size_t(i1) * t->nb[1] + size_t(i2) * t->nb[2] +
                                    size_t(i3) * t->nb[3],
                                sizeof(v));
                    out.push_back(v);
                }
            }
        }
    }
    return out;
}

}  // namespace

std::vector<float> node_values::floats(const ggml_tensor * t) {
    return gather<float>(bytes(t), t);
}

std::vector<int32_t> node_values::integers(const ggml_tensor * t) {
    return gather<int32_t>(bytes(t), t);
}

std::vector<float> node_values::norms(const ggml_tensor * x) {
    const std::vector<float> values = floats(x);
    const auto               width  = static_cast<size_t>(x->ne[0]);
    std::vector<float>       out;
    for (size_t begin = 0; begin < values.size(); begin += width) {
        double sum = 0;
        for (size_t i = begin; i < begin + width; ++i) {
            sum += double(values[i]) * double(values[i]);
        }
        out.push_back(static_cast<float>(std::sqrt(sum)));
    }
    return out;
}

}  // namespace moescope::capture
