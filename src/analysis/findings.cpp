#include "analysis/findings.hpp"

#include <algorithm>
#include <cmath>

namespace moescope::analysis {

namespace {

constexpr double rarely = 0.01, a_tenth = 0.1, deviations = 3;

double log_binomial(uint64_t n, uint64_t c, double p) {
    const auto N = static_cast<double>(n), C = static_cast<double>(c);
    return std::lgamma(N + 1) - std::lgamma(C + 1) - std::lgamma(N - C + 1) + C * std::log(p) +
           (N - C) * std::log1p(-p);
}

// The smallest z with 1 − Φ(z) < most.
double normal_limit(double most) {
    double low = 0, high = 40;
    for (int i = 0; i < 100; ++i) {
        const double z                                        = (low + high) / 2;
        (std::erfc(z / std::sqrt(2)) / 2 < most ? high : low) = z;
    }
    return high;
}

bool can_lean(const block_frequency & b) {
    return b.n_rows > 0 && b.layout.n_expert_used > 0 && b.layout.n_expert_used < b.layout.n_expert &&
           !b.layout.has(block_layout::ids_repeat);
}

std::optional<leaning> find_leaning(const frequency_result & r) {
    std::optional<leaning> most;
    for (const block_frequency & b : r.blocks) {
        if (!can_lean(b)) {
            continue;
        }
        const auto     busiest = std::max_element(b.total.begin(), b.total.end());
        const double   fair    = double(b.layout.n_expert_used) / b.layout.n_expert;
        const double   all     = static_cast<double>(r.n_experts());
        const uint64_t limit   = binomial_limit(b.n_rows, fair, rarely / all);
        if (*busiest <= limit) {
            continue;
        }
        const double fair_count = fair * static_cast<double>(b.n_rows);
        const double vs_balance = double(*busiest) / fair_count;
        if (!most || vs_balance > most->vs_balance) {
            most = leaning{b.layout, static_cast<uint32_t>(busiest - b.total.begin()), vs_balance,
                           double(limit) / fair_count};
        }
    }
    return most;
}

std::optional<beside_chance> find_never_used(const frequency_result & r) {
    double chance = 0;
    for (const block_frequency & b : r.blocks) {
        chance += b.measured.selections > 0 ? b.chance.mean.dead : 0;
    }
    const auto dead = static_cast<double>(r.n_dead());
    if (!(dead >= 1 && dead > chance + deviations * std::sqrt(chance))) {  // chance may be unknown
        return std::nullopt;
    }
    return beside_chance{dead, chance};
}

std::optional<beside_chance> above(double measured, double chance) {
    return measured - chance >= a_tenth ? std::optional(beside_chance{measured, chance}) : std::nullopt;
}

}  // namespace

uint64_t binomial_limit(uint64_t n, double p, double most) {
    const double mean = static_cast<double>(n) * p, variance = mean * (1 - p);
    if (variance > 10'000) {
        return static_cast<uint64_t>(std::ceil(mean + normal_limit(most) * std::sqrt(variance)));
    }
    // From the far end: P(count >= c) grows as c comes down.
    double tail = 0;
    for (uint64_t c = n;; --c) {
        tail += std::exp(log_binomial(n, c, p));
        if (tail >= most || c == 0) {
            return c + 1;
        }
    }
}

findings find(const summary_result & s) {
    findings f;
    f.leans      = find_leaning(s.frequency);
    f.never_used = find_never_used(s.frequency);
    f.lru        = above(s.lru_hits, s.lru_hits_chance);
    f.repeats    = above(s.overlap_next, s.overlap_by_popularity);
    f.phases     = above(s.phase_distance, s.phase_distance_chance);
    return f;
}

}  // namespace moescope::analysis
