#include "analysis/distance.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "analysis/interval.hpp"

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
