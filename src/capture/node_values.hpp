#pragma once

#include <cstdint>
#include <vector>

#include "capture/ggml_api.hpp"

namespace moescope::capture {

// Copies a node's values out while the eval callback shows it. For that way of capture alone: the probes read through
// tensor_view, so that each way checks the other.
class node_values {
public:
    explicit node_values(const ggml_api & api) : api_(api) {}

    // All elements of a tensor of f32 or of i32, in order, by its strides.
    std::vector<float>   floats(const ggml_tensor * t);
    std::vector<int32_t> integers(const ggml_tensor * t);
    // The Euclidean norm of each column of a tensor of f32.
    std::vector<float> norms(const ggml_tensor * t);

private:
    const uint8_t * bytes(const ggml_tensor * t);

    const ggml_api &     api_;
    std::vector<uint8_t> scratch_;  // for values that lie on a device
};

}  // namespace moescope::capture
