#include "analysis/tools/distance.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include "analysis/tools/unknown.hpp"
#include "core/random_stream.hpp"

namespace moescope::analysis {

namespace {

std::vector<double> ranks(const std::vector<uint64_t> & v) {
    std::vector<size_t> order(v.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return v[a] < v[b]; });
    std::vector<double> rank(v.size());
    for (size_t i = 0; i < order.size();) {
        size_t end = i;
        while (end < order.size() && v[order[end]] == v[order[i]]) {
            ++end;
        }
        for (size_t j = i; j < end; ++j) {
            rank[order[j]] = (double(i) + double(end - 1)) / 2;
        }
        i = end;
    }
    return rank;
}

constexpr int    n_deals         = 20;
constexpr size_t many_per_expert = 20;  // selections of the smaller side, from which the second order is good to 1 %

// n of the selections in `all`, without replacement.
std::vector<uint64_t> deal(random_stream & random, const std::vector<uint64_t> & all, uint64_t n) {
    std::vector<uint64_t> up_to(all.size()), hand(all.size());
    std::partial_sum(all.begin(), all.end(), up_to.begin());
    std::unordered_set<uint64_t> taken;
    while (taken.size() < n) {
        const auto at = static_cast<uint64_t>(random.uniform() * double(up_to.back()));
        if (taken.insert(at).second) {
            hand[static_cast<size_t>(std::upper_bound(up_to.begin(), up_to.end(), at) - up_to.begin())] += 1;
        }
    }
    return hand;
}

}  // namespace

double jensen_shannon(const std::vector<uint64_t> & a, const std::vector<uint64_t> & b) {
    const double na = double(std::accumulate(a.begin(), a.end(), uint64_t{0}));
    const double nb = double(std::accumulate(b.begin(), b.end(), uint64_t{0}));
    if (na == 0 || nb == 0) {
        return unknown;
    }
    double divergence = 0;
    for (size_t e = 0; e < a.size(); ++e) {
        const double p = double(a[e]) / na, q = double(b[e]) / nb, m = (p + q) / 2;
        divergence += (p > 0 ? p * std::log2(p / m) : 0) / 2 + (q > 0 ? q * std::log2(q / m) : 0) / 2;
    }
    return std::sqrt(std::clamp(divergence, 0.0, 1.0));
}

double jensen_shannon_by_chance(const std::vector<uint64_t> & a, const std::vector<uint64_t> & b, uint32_t k) {
    const uint64_t na = std::accumulate(a.begin(), a.end(), uint64_t{0}),
                   nb = std::accumulate(b.begin(), b.end(), uint64_t{0});
    if (na == 0 || nb == 0) {
        return unknown;
    }
    std::vector<uint64_t> all(a.size());
    std::transform(a.begin(), a.end(), b.begin(), all.begin(), std::plus<>());
    const double n          = double(a.size());
    const double distinct   = n > 1 ? std::sqrt(std::max(0.0, n - k) / (n - 1)) : 0;
    const double n_selected = n - double(std::count(all.begin(), all.end(), uint64_t{0}));
    if (double(std::min(na, nb)) > many_per_expert * n_selected) {
        return distinct * std::sqrt((n_selected - 1) * (1 / double(na) + 1 / double(nb)) / (8 * std::log(2.0)));
    }
    random_stream random(na << 32 ^ nb);
    double        sum = 0;
    for (int d = 0; d < n_deals; ++d) {
        const std::vector<uint64_t> hand = deal(random, all, std::min(na, nb));
        std::vector<uint64_t>       rest(all.size());
        std::transform(all.begin(), all.end(), hand.begin(), rest.begin(), std::minus<>());
        sum += jensen_shannon(hand, rest);
    }
    return distinct * sum / n_deals;
}

double rank_correlation(const std::vector<uint64_t> & a, const std::vector<uint64_t> & b) {
    const std::vector<double> x = ranks(a), y = ranks(b);
    const double              mean = (double(x.size()) - 1) / 2;
    double                    xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        xx += (x[i] - mean) * (x[i] - mean);
        yy += (y[i] - mean) * (y[i] - mean);
        xy += (x[i] - mean) * (y[i] - mean);
    }
    return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : unknown;
}

}  // namespace moescope::analysis
