#include "capture/gram_op.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <ggml.h>

namespace moescope::capture {

namespace {

// As in norm_op: sixteen independent sums.
float dot(const float * x, const float * y, int64_t n) {
    float   part[16] = {};
    int64_t i        = 0;
    for (; i + 16 <= n; i += 16) {
        for (int j = 0; j < 16; ++j) {
            part[j] += x[i + j] * y[i + j];
        }
    }
    float sum = 0;
    for (const float p : part) {
        sum += p;
    }
    for (; i < n; ++i) {
        sum += x[i] * y[i];
    }
    return sum;
}

const float * at(const ggml_tensor * t, int64_t i1, int64_t i2) {
    return reinterpret_cast<const float *>(static_cast<const char *>(t->data) + size_t(i1) * t->nb[1] +
                                           size_t(i2) * t->nb[2]);
}

// [first, end) of n rows for one of nth threads.
struct share {
    share(int64_t n, int ith, int nth) {
        const int64_t part = (n + nth - 1) / nth;
        first              = std::min(n, ith * part);
        end                = std::min(n, first + part);
    }
    int64_t first, end;
};

}  // namespace

void * gram_factor(float factor) {
    uint32_t bits;
    std::memcpy(&bits, &factor, sizeof(bits));
    return reinterpret_cast<void *>(static_cast<uintptr_t>(bits));
}

void column_gram(ggml_tensor * dst, int ith, int nth, void * factor) {
    const auto bits = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(factor));
    float      scale;
    std::memcpy(&scale, &bits, sizeof(scale));
    const ggml_tensor * experts = dst->src[0];
    const int64_t       n = experts->ne[0], k = experts->ne[1], m = k + 2;
    const auto          vector = [&](int64_t i, int64_t row) {
        return i < k ? at(experts, i, row) : at(dst->src[1 + i - k], row, 0);
    };
    const share rows(experts->ne[2], ith, nth);
    for (int64_t row = rows.first; row < rows.end; ++row) {
        auto * out = reinterpret_cast<float *>(static_cast<char *>(dst->data) + size_t(row) * dst->nb[1]);
        for (int64_t i = 0; i < m; ++i) {
            for (int64_t j = i; j < m; ++j) {
                const float value = (i < k ? scale : 1) * (j < k ? scale : 1) * dot(vector(i, row), vector(j, row), n);
                out[i * m + j] = out[j * m + i] = value;
            }
        }
    }
}

void column_peaks(ggml_tensor * dst, int ith, int nth, void *) {
    const ggml_tensor * src = dst->src[0];
    const int64_t       k   = src->ne[1];
    const share         columns(k * src->ne[2], ith, nth);
    for (int64_t c = columns.first; c < columns.end; ++c) {
        const float * x    = at(src, c % k, c / k);
        float         peak = 0;
        for (int64_t i = 0; i < src->ne[0]; ++i) {
            peak = std::max(peak, std::fabs(x[i]));
        }
        *reinterpret_cast<float *>(static_cast<char *>(dst->data) + size_t(c % k) * dst->nb[0] +
                                   size_t(c / k) * dst->nb[1]) = peak;
    }
}

}  // namespace moescope::capture
