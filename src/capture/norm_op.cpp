#include "capture/norm_op.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <ggml.h>

namespace moescope::capture {

namespace {

// Sixteen independent sums let the compiler use whole vectors; their error stays far below f32's for any width in use.
float sum_of_squares(const float * x, int64_t n) {
    float   part[16] = {};
    int64_t i        = 0;
    for (; i + 16 <= n; i += 16) {
        for (int j = 0; j < 16; ++j) {
            part[j] += x[i + j] * x[i + j];
        }
    }
    float sum = 0;
    for (const float p : part) {
        sum += p;
    }
    for (; i < n; ++i) {
        sum += x[i] * x[i];
    }
    return sum;
}

}  // namespace

void column_norms(ggml_tensor * dst, int ith, int nth, void *) {
    const ggml_tensor * src    = dst->src[0];
    const int64_t       k      = src->ne[1];
    const int64_t       n_cols = k * src->ne[2];
    // Each thread takes the columns that it takes in the multiplication by the weights, which comes next: they are fetched
    // from the other cores' caches once.
    const int64_t part = (n_cols + nth - 1) / nth;
    const int64_t end  = std::min(n_cols, (ith + 1) * part);
    for (int64_t c = ith * part; c < end; ++c) {
        const auto * x   = reinterpret_cast<const float *>(static_cast<const char *>(src->data) +
                                                         size_t(c % k) * src->nb[1] + size_t(c / k) * src->nb[2]);
        auto *       out = reinterpret_cast<float *>(static_cast<char *>(dst->data) + size_t(c % k) * dst->nb[0] +
                                               size_t(c / k) * dst->nb[1]);
        *out             = std::sqrt(sum_of_squares(x, src->ne[0]));
    }
}

}  // namespace moescope::capture
