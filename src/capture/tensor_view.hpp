#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "capture/ggml_api.hpp"

namespace moescope::capture {

// Where a computed [rows][cols] matrix lies, copied out of its tensor once the graph is allocated: the tensor itself may
// be gone when the values are read. Strides are ggml's nb, so views are read right (docs/capture.md, trap 1). Small, because
// it is read when the weights that a token streamed through the caches have just driven it out of them.
class tensor_view {
public:
    tensor_view() = default;

    // A tensor of `cols` values per row, as [cols, n], [1, cols, n] or [cols, 1, n].
    tensor_view(const ggml_api & api, const ggml_tensor * t, int64_t cols);

    // Of each row only the `n` values from `first` on.
    tensor_view columns(int64_t first, int64_t n) const;

    explicit operator bool() const { return data_ != nullptr; }
    int64_t  rows() const { return rows_; }
    int64_t  cols() const { return cols_; }

    // Copies all rows, densely, as float (from f32) or as ids of `bytes` each (from i32). out holds rows * cols of them.
    // scratch is used for values that lie on a device.
    void read_floats(float * out, std::vector<uint8_t> & scratch) const;
    void read_ids(void * out, uint32_t bytes, std::vector<uint8_t> & scratch) const;

private:
    const uint8_t * fetch(std::vector<uint8_t> & scratch) const;

    // What reading from a device needs: a tensor of the same type, shape, strides, data and buffer.
    struct device_copy {
        const ggml_api * api;
        ggml_tensor      tensor;
    };

    const uint8_t *                    data_ = nullptr;  // null: nothing to read
    int64_t                            rows_ = 0, cols_ = 0;
    size_t                             row_stride_ = 0, col_stride_ = 0;  // bytes
    size_t                             offset_ = 0;                       // bytes from data_ to the first value
    std::shared_ptr<const device_copy> on_device_;                        // null where data_ is host memory
};
static_assert(sizeof(tensor_view) <= 64, "more than a line of the cache");

}  // namespace moescope::capture
