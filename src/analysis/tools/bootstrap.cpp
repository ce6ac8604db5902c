#include "analysis/tools/bootstrap.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "analysis/tools/running_stats.hpp"
#include "analysis/tools/sum.hpp"
#include "core/random_stream.hpp"

namespace moescope::analysis {

namespace {

constexpr int    draws      = 2000;
constexpr size_t most_drawn = 4096;  // so that drawing takes a moment however long the trace

std::vector<double> with_neighbours(const std::vector<double> & units) {
    if (units.size() <= most_drawn) {
        return units;
    }
    std::vector<double> groups(most_drawn);
    for (size_t i = 0; i < units.size(); ++i) {
        groups[i * most_drawn / units.size()] += units[i];
    }
    return groups;
}

// [draw][part] Σ part / Σ whole over units drawn with replacement, the same for all parts. Draws without a whole are left
// out; none for fewer than two units.
std::vector<std::vector<double>> draw_ratios(std::vector<std::vector<double>> parts, const std::vector<double> & all) {
    const std::vector<double> whole = with_neighbours(all);
    const auto                n     = static_cast<uint32_t>(whole.size());
    for (std::vector<double> & p : parts) {
        p = with_neighbours(p);
    }
    std::vector<std::vector<double>> ratios;
    random_stream                    random(n);
    for (int d = 0; d < draws && n >= 2; ++d) {
        std::vector<double> p(parts.size());
        double              w = 0;
        for (uint32_t i = 0; i < n; ++i) {
            const uint32_t unit = random.below(n);
            w += whole[unit];
            for (size_t k = 0; k < parts.size(); ++k) {
                p[k] += parts[k][unit];
            }
        }
        if (w > 0) {
            for (double & x : p) {
                x /= w;
            }
            ratios.push_back(std::move(p));
        }
    }
    return ratios;
}

double quantile(std::vector<double> values, double q) {
    if (values.empty()) {
        return unknown;
    }
    std::sort(values.begin(), values.end());
    return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

}  // namespace

interval bootstrap_ratio(const std::vector<double> & part, const std::vector<double> & whole) {
    return bootstrap_ratios({part}, whole).front();
}

std::vector<interval> bootstrap_ratios(const std::vector<std::vector<double>> & parts,
                                       const std::vector<double> &              whole) {
    const std::vector<std::vector<double>> drawn = draw_ratios(parts, whole);
    std::vector<interval>                  intervals;
    for (size_t k = 0; k < parts.size(); ++k) {
        std::vector<double> ratio;
        for (const std::vector<double> & d : drawn) {
            ratio.push_back(d[k]);
        }
        intervals.push_back({quantile(ratio, 0.025), quantile(ratio, 0.975)});
    }
    return intervals;
}

std::vector<interval> bootstrap_lead(const std::vector<std::vector<double>> & parts, const std::vector<double> & whole,
                                     size_t first) {
    const size_t                           n     = parts.size();
    const std::vector<std::vector<double>> drawn = draw_ratios(parts, whole);
    std::vector<double>                    ratio;
    for (const std::vector<double> & p : parts) {
        ratio.push_back(sum(p) / sum(whole));
    }
    std::vector<double> spread(n * n);  // of the difference of i and j
    std::vector<double> largest(drawn.size());
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = i + 1; j < n; ++j) {
            running_stats difference;
            for (const std::vector<double> & d : drawn) {
                difference.add(d[i] - d[j]);
            }
            const double sd = spread[i * n + j] = spread[j * n + i] = difference.sd();
            for (size_t d = 0; d < drawn.size() && sd > 0; ++d) {
                largest[d] = std::max(largest[d], std::fabs(drawn[d][i] - drawn[d][j] - (ratio[i] - ratio[j])) / sd);
            }
        }
    }
    const double          reach = quantile(largest, 0.95);
    std::vector<interval> lead(n);
    for (size_t i = 0; i < n; ++i) {
        if (i != first && !drawn.empty()) {
            const double half = reach * spread[first * n + i];
            lead[i]           = {ratio[first] - ratio[i] - half, ratio[first] - ratio[i] + half};
        }
    }
    return lead;
}

}  // namespace moescope::analysis
