#include "capture/tensor_view.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace moescope::capture {

tensor_view::tensor_view(const ggml_api & api, const ggml_tensor * t, int64_t cols) : cols_(cols) {
    ggml_backend_buffer_t buffer = t->view_src != nullptr ? t->view_src->buffer : t->buffer;
    if (buffer == nullptr) {
        return;  // not allocated: nothing to read
    }
    if (t->ne[0] == cols && t->ne[2] == 1) {
        rows_ = t->ne[1], row_stride_ = t->nb[1], col_stride_ = t->nb[0];
    } else if (t->ne[0] == 1 && t->ne[1] == cols) {
        rows_ = t->ne[2], row_stride_ = t->nb[2], col_stride_ = t->nb[1];
    } else if (t->ne[0] == cols && t->ne[1] == 1) {
        rows_ = t->ne[2], row_stride_ = t->nb[2], col_stride_ = t->nb[0];
    } else {
        return;  // another shape than this version of llama.cpp makes
    }
    data_ = static_cast<const uint8_t *>(t->data);
    if (!api.ggml_backend_buffer_is_host(buffer)) {
        ggml_tensor copy = *t;
        copy.buffer      = buffer;
        copy.view_src    = nullptr;
        copy.extra       = nullptr;
        std::fill(std::begin(copy.src), std::end(copy.src), nullptr);
        on_device_ = std::make_shared<const device_copy>(device_copy{&api, copy});
    }
}

tensor_view tensor_view::columns(int64_t first, int64_t n) const {
    tensor_view v = *this;
    v.offset_ += static_cast<size_t>(first) * col_stride_;
    v.cols_ = n;
    return v;
}

const uint8_t * tensor_view::fetch(std::vector<uint8_t> & scratch) const {
    if (on_device_ == nullptr || rows_ == 0) {
        return data_ + offset_;
    }
    const size_t size = size_t(rows_ - 1) * row_stride_ + size_t(cols_ - 1) * col_stride_ + sizeof(float);
    scratch.resize(size);
    on_device_->api->ggml_backend_tensor_get(&on_device_->tensor, scratch.data(), offset_, size);
    return scratch.data();
}

void tensor_view::read_floats(float * out, std::vector<uint8_t> & scratch) const {
    const uint8_t * at = fetch(scratch);
    if (col_stride_ == sizeof(float) && row_stride_ == size_t(cols_) * sizeof(float)) {
        std::memcpy(out, at, size_t(rows_) * row_stride_);
        return;
    }
    for (int64_t r = 0; r < rows_; ++r) {
        for (int64_t c = 0; c < cols_; ++c) {
            std::memcpy(out++, at + size_t(r) * row_stride_ + size_t(c) * col_stride_, sizeof(float));
        }
    }
}

namespace {

template <class T>
void narrow(const uint8_t * at, int64_t rows, int64_t cols, size_t row_stride, size_t col_stride, T * out) {
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
            int32_t id;
            std::memcpy(&id, at + size_t(r) * row_stride + size_t(c) * col_stride, sizeof(id));
            *out++ = static_cast<T>(id);
        }
    }
}

}  // namespace

void tensor_view::read_ids(void * out, uint32_t bytes, std::vector<uint8_t> & scratch) const {
    const uint8_t * at = fetch(scratch);
    switch (bytes) {
        case 1: narrow(at, rows_, cols_, row_stride_, col_stride_, static_cast<uint8_t *>(out)); break;
        case 2: narrow(at, rows_, cols_, row_stride_, col_stride_, static_cast<uint16_t *>(out)); break;
        default: narrow(at, rows_, cols_, row_stride_, col_stride_, static_cast<uint32_t *>(out)); break;
    }
}

}  // namespace moescope::capture
