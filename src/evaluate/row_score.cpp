#include "evaluate/row_score.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <thread>

namespace moescope::evaluate {

namespace {

constexpr float  least_exponent = -87.0F;  // below, e^x is no normal number
constexpr float  least_logit    = -1e30F;  // stands for -inf: times 0 it is 0
constexpr size_t chunk          = 256;     // elements whose terms lie in the first cache

// e^x for least_exponent ≤ x ≤ 0. Without branches or calls, so that the compiler computes several at once:
// e^x = 2^n·e^r with n = round(x / ln 2), and e^r by its Taylor polynomial of degree 7 (|r| ≤ ln 2 / 2: error below 6e-9).
inline float exp_of(float x) {
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

inline float larger(float a, float b) {
    return a > b ? a : b;
}

// e^x, or 0 below least_exponent. A product instead of a condition, which would keep it from being computed several at once.
inline float exp_or_zero(float x) {
    return exp_of(larger(x, least_exponent)) * static_cast<float>(x > least_exponent);
}

double sum(const float * x, size_t n) {
    std::array<double, 4> part = {};
    size_t                i    = 0;
    for (; i + part.size() <= n; i += part.size()) {
        for (size_t j = 0; j < part.size(); ++j) {
            part[j] += static_cast<double>(x[i + j]);
        }
    }
    for (; i < n; ++i) {
        part[0] += static_cast<double>(x[i]);
    }
    return (part[0] + part[1]) + (part[2] + part[3]);
}

// The likeliest tokens, best first; SIZE_MAX and -inf where the vocabulary is smaller.
struct best_tokens {
    std::array<size_t, n_best> ids;
    std::array<float, n_best>  values;

    best_tokens() {
        ids.fill(SIZE_MAX);
        values.fill(-INFINITY);
    }
    void offer(size_t id, float value) {
        if (!(value > values.back()) && ids.back() != SIZE_MAX) {
            return;
        }
        size_t at = n_best - 1;
        for (; at > 0 && (ids[at - 1] == SIZE_MAX || value > values[at - 1]); --at) {
            ids[at]    = ids[at - 1];
            values[at] = values[at - 1];
        }
        ids[at]    = id;
        values[at] = value;
    }
    bool has(size_t id) const { return std::find(ids.begin(), ids.end(), id) != ids.end(); }
};

bool any_above(const float * x, size_t n, float least) {
    int any = 0;
    for (size_t i = 0; i < n; ++i) {
        any |= static_cast<int>(x[i] > least);
    }
    return any != 0;
}

best_tokens best_of(const float * x, size_t n_vocab) {
    best_tokens best;
    for (size_t at = 0; at < n_vocab; at += chunk) {
        const size_t n = std::min(chunk, n_vocab - at);
        if (at > 0 && !any_above(x + at, n, best.values.back())) {
            continue;  // the first chunk holds more than n_best tokens, or all there are
        }
        for (size_t i = at; i < at + n; ++i) {
            best.offer(i, x[i]);
        }
    }
    return best;
}

}  // namespace

row_score compare_rows(const float * full, const float * changed, size_t n_vocab, int32_t target) {
    const best_tokens best_full = best_of(full, n_vocab), best_changed = best_of(changed, n_vocab);
    const float       m_full = best_full.values[0], m_changed = best_changed.values[0];
    double z_full = 0, z_changed = 0, apart = 0;  // Σ e^f, Σ e^c, Σ e^f (f − c), the largest logit being 0
    float  e_full[chunk], e_changed[chunk], term[chunk];
    for (size_t at = 0; at < n_vocab; at += chunk) {
        const size_t n = std::min(chunk, n_vocab - at);
        for (size_t i = 0; i < n; ++i) {
            const float f = larger(full[at + i] - m_full, least_logit),
                        c = larger(changed[at + i] - m_changed, least_logit);
            e_full[i]     = exp_or_zero(f);
            e_changed[i]  = exp_or_zero(c);
            term[i]       = e_full[i] * (f - c);
        }
        z_full += sum(e_full, n);
        z_changed += sum(e_changed, n);
        apart += sum(term, n);
    }
    const auto t = static_cast<size_t>(target);
    row_score  s;
    s.nll_full    = std::log(z_full) - (double{full[t]} - double{m_full});
    s.nll_changed = std::log(z_changed) - (double{changed[t]} - double{m_changed});
    s.kl          = apart / z_full + std::log(z_changed) - std::log(z_full);
    s.same_top    = best_full.ids[0] == best_changed.ids[0];
    for (const size_t id : best_full.ids) {
        s.n_top5 += id != SIZE_MAX && best_changed.has(id) ? 1 : 0;
    }
    return s;
}

std::vector<row_score> compare_rows(const std::vector<row_pair> & rows, size_t n_vocab, size_t n_threads) {
    constexpr size_t       worth_a_thread = 1U << 18;  // elements: starting one costs as much as some 10,000
    std::vector<row_score> scores(rows.size());
    const size_t n    = std::max<size_t>(1, std::min({n_threads, rows.size(), rows.size() * n_vocab / worth_a_thread}));
    const auto   work = [&](size_t worker) {
        for (size_t i = worker; i < rows.size(); i += n) {
            scores[i] = compare_rows(rows[i].full, rows[i].changed, n_vocab, rows[i].target);
        }
    };
    std::vector<std::thread> workers;
    for (size_t w = 1; w < n; ++w) {
        workers.emplace_back(work, w);
    }
    work(0);
    for (std::thread & w : workers) {
        w.join();
    }
    return scores;
}

}  // namespace moescope::evaluate
