#include "analysis/tools/balance.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "core/random_stream.hpp"

namespace moescope::analysis {

namespace {

// Enough for means that are good to a few parts in a thousand; large layers need fewer, as their measures vary less.
int n_draws(uint32_t n_expert) {
    return static_cast<int>(std::clamp(100'000u / std::max(1u, n_expert), 5u, 100u));
}

constexpr uint64_t row_by_row_most = 20'000;  // selections; above, the counts are as good as normal

void draw_rows(random_stream & random, uint64_t rows, uint32_t k, bool distinct, std::vector<uint64_t> & count,
               std::vector<uint32_t> & ids) {
    const auto n = static_cast<uint32_t>(count.size());
    std::iota(ids.begin(), ids.end(), 0u);
    for (uint64_t r = 0; r < rows; ++r) {
        for (uint32_t i = 0; i < k; ++i) {
            if (distinct) {  // the first k steps of a shuffle
                std::swap(ids[i], ids[i + random.below(n - i)]);
                count[ids[i]] += 1;
            } else {
                count[random.below(n)] += 1;
            }
        }
    }
}

// Normal deviates whose variances and (negative) covariances are those of the counts, so that they sum to rows · k.
void draw_normal(random_stream & random, uint64_t rows, uint32_t k, bool distinct, std::vector<uint64_t> & count) {
    const double        n = static_cast<double>(count.size()), mean = static_cast<double>(rows) * k / n;
    const double        variance = distinct ? mean * (1 - k / n) : mean * (1 - 1 / n);
    const double        scale    = std::sqrt(variance * n / std::max(1.0, n - 1));
    std::vector<double> z(count.size());
    double              centre = 0;
    for (double & v : z) {
        v = random.normal();
        centre += v / n;
    }
    for (size_t e = 0; e < z.size(); ++e) {
        count[e] = static_cast<uint64_t>(std::max(0.0, std::round(mean + scale * (z[e] - centre))));
    }
}

}  // namespace

balance measure_balance(span<const uint64_t> count) {
    balance b;
    b.n_expert   = static_cast<uint32_t>(count.size());
    b.selections = std::accumulate(count.begin(), count.end(), uint64_t{0});
    b.dead       = static_cast<double>(std::count(count.begin(), count.end(), uint64_t{0}));
    if (b.selections == 0) {
        return b;
    }
    std::vector<uint64_t> sorted(count.begin(), count.end());
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const double n = static_cast<double>(sorted.size()), total = static_cast<double>(b.selections);
    double       entropy = 0, weighted = 0, sum = 0;
    for (size_t i = 0; i < sorted.size(); ++i) {
        const double c = static_cast<double>(sorted[i]), p = c / total;
        entropy -= p > 0 ? p * std::log(p) : 0;
        weighted += (n - 2.0 * static_cast<double>(i) - 1) * c;  // Σ over sorted pairs of their difference
        sum += c;
        for (size_t l = 0; l < coverage_levels.size(); ++l) {
            // The level's share of selections, without the rounding of 0.95 · total.
            if (std::isnan(b.coverage[l]) && sum >= coverage_levels[l] * total * (1 - 1e-12)) {
                b.coverage[l] = static_cast<double>(i + 1);
            }
        }
    }
    b.entropy = sorted.size() > 1 ? std::max(0.0, entropy / std::log(n)) : 1;
    b.gini    = weighted / (n * total);
    b.max_vio = static_cast<double>(sorted.front()) * n / total - 1;
    return b;
}

balance_chance balance_by_chance(uint64_t rows, uint32_t k, uint32_t n_expert, bool distinct) {
    balance_chance chance;
    chance.mean.n_expert = n_expert;
    chance.mean.dead     = unknown;
    if (rows == 0 || k == 0 || n_expert == 0 || (distinct && k > n_expert)) {
        return chance;
    }
    const double n = n_expert;
    chance.p_dead =
        distinct ? std::pow(1 - k / n, static_cast<double>(rows)) : std::pow(1 - 1 / n, static_cast<double>(rows) * k);
    balance sum;
    sum.entropy = sum.gini = sum.max_vio = 0;
    sum.coverage                         = {0, 0, 0, 0};
    random_stream         random(uint64_t{n_expert} << 32 | k);
    std::vector<uint32_t> ids(n_expert);
    const int             draws = n_draws(n_expert);
    for (int d = 0; d < draws; ++d) {
        std::vector<uint64_t> count(n_expert);
        if (rows * k <= row_by_row_most) {
            draw_rows(random, rows, k, distinct, count, ids);
        } else {
            draw_normal(random, rows, k, distinct, count);
        }
        const balance b = measure_balance(count);
        sum.entropy += b.entropy / draws;
        sum.gini += b.gini / draws;
        sum.max_vio += b.max_vio / draws;
        for (size_t l = 0; l < sum.coverage.size(); ++l) {
            sum.coverage[l] += b.coverage[l] / draws;
        }
    }
    sum.n_expert   = n_expert;
    sum.selections = rows * k;
    sum.dead       = n * chance.p_dead;
    chance.mean    = sum;
    return chance;
}

}  // namespace moescope::analysis
