#include "evaluate/exponentials.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

// Inlined into each of the codes at the end, and so compiled for its processor.
#define ALWAYS_INLINE inline __attribute__((always_inline))

namespace moescope::evaluate {

namespace {

constexpr float  least_exponent = -87.0F;  // below, e^x is no normal number
constexpr float  least_logit    = -1e30F;  // stands for -inf: times 0 it is 0
constexpr size_t chunk          = 256;     // elements whose terms lie in the first cache

// e^x for least_exponent ≤ x ≤ 0. Without branches or calls, so that the compiler computes several at once:
// e^x = 2^n·e^r with n = round(x / ln 2), and e^r by its Taylor polynomial of degree 7 (|r| ≤ ln 2 / 2: error below 6e-9).
ALWAYS_INLINE float exp_of(float x) {
    constexpr float round_bias = 12582912.0F;  // 1.5·2^23: adding it leaves the rounded integer in the low bits
    const float     shifted    = x * 1.44269504F + round_bias;
    const float     n          = shifted - round_bias;
    const float     r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // ln 2 in two parts (Cody and Waite 1980)
    float           p = 1.0F / 5040;
    p                 = p * r + 1.0F / 720;
    p                 = p * r + 1.0F / 120;
    p                 = p * r + 1.0F / 24;
    p                 = p * r + 1.0F / 6;
    p                 = p * r + 0.5F;
    p                 = p * r + 1.0F;
    p                 = p * r + 1.0F;
    uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof(bits));
    bits = (bits + 127U - 0x4b400000U) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof(power));
    return p * power;
}

ALWAYS_INLINE float larger(float a, float b) {
    return a > b ? a : b;
}

// e^x, or 0 below least_exponent. A product instead of a condition, which would keep it from being computed several at once.
ALWAYS_INLINE float exp_or_zero(float x) {
    return exp_of(larger(x, least_exponent)) * static_cast<float>(x > least_exponent);
}

ALWAYS_INLINE double sum(const float * x, size_t n) {
    std::array<double, 8> part = {};
    size_t                i    = 0;
    for (; i + part.size() <= n; i += part.size()) {
        for (size_t j = 0; j < part.size(); ++j) {
            part[j] += static_cast<double>(x[i + j]);
        }
    }
    for (; i < n; ++i) {
        part[0] += static_cast<double>(x[i]);
    }
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

ALWAYS_INLINE exponential_sums sum_all(const logit_row & full, const logit_row & changed, size_t n_vocab) {
    exponential_sums s = {};
    float            e_full[chunk], e_changed[chunk], term[chunk];
    for (size_t at = 0; at < n_vocab; at += chunk) {
        const size_t n = std::min(chunk, n_vocab - at);
        for (size_t i = 0; i < n; ++i) {
            const float f = larger(full.logits[at + i] - full.largest, least_logit);
            const float c = larger(changed.logits[at + i] - changed.largest, least_logit);
            e_full[i]     = exp_or_zero(f);
            e_changed[i]  = exp_or_zero(c);
            term[i]       = e_full[i] * (f - c);
        }
        s.full += sum(e_full, n);
        s.changed += sum(e_changed, n);
        s.apart += sum(term, n);
    }
    return s;
}

exponential_sums for_any(const logit_row & full, const logit_row & changed, size_t n_vocab) {
    return sum_all(full, changed, n_vocab);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) exponential_sums for_avx2(const logit_row & full, const logit_row & changed,
                                                          size_t n_vocab) {
    return sum_all(full, changed, n_vocab);
}

__attribute__((target("avx512f"))) exponential_sums for_avx512(const logit_row & full, const logit_row & changed,
                                                               size_t n_vocab) {
    return sum_all(full, changed, n_vocab);
}
#endif

}  // namespace

exponential_sums sum_exponentials(const logit_row & full, const logit_row & changed, size_t n_vocab) {
    static const exponential_code fastest = exponential_codes().back();
    return fastest(full, changed, n_vocab);
}

std::vector<exponential_code> exponential_codes() {
    std::vector<exponential_code> codes = {for_any};
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        codes.push_back(for_avx2);
    }
    if (__builtin_cpu_supports("avx512f")) {
        codes.push_back(for_avx512);
    }
#endif
    return codes;
}

}  // namespace moescope::evaluate
