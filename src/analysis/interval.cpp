#include "analysis/interval.hpp"

#include <algorithm>

#include "analysis/random.hpp"

namespace moescope::analysis {

interval wilson(uint64_t hits, uint64_t rows) {
    if (rows == 0 || hits > rows) {
        return {};
    }
    constexpr double z = 1.959963984540054;   // the 97.5 % point of the normal distribution
    const double     n = static_cast<double>(rows), p = static_cast<double>(hits) / n;
    const double     centre = (p + z * z / (2 * n)) / (1 + z * z / n);
    const double     half   = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n);
    return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

interval bootstrap_ratio(const std::vector<double> & part, const std::vector<double> & whole) {
    constexpr int draws = 2000;
    const auto    n     = static_cast<uint32_t>(part.size());
    if (n < 2) {
        return {};
    }
    random_stream       random(n);
    std::vector<double> ratio;
    for (int d = 0; d < draws; ++d) {
        double p = 0, w = 0;
        for (uint32_t i = 0; i < n; ++i) {
            const uint32_t j = random.below(n);
            p += part[j];
            w += whole[j];
        }
        if (w > 0) {
            ratio.push_back(p / w);
        }
    }
    if (ratio.empty()) {
        return {};
    }
    std::sort(ratio.begin(), ratio.end());
    const auto at = [&](double q) { return ratio[static_cast<size_t>(q * static_cast<double>(ratio.size() - 1))]; };
    return {at(0.025), at(0.975)};
}

}  // namespace moescope::analysis
