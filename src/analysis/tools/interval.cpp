#include "analysis/tools/interval.hpp"

#include <algorithm>
#include <cmath>

namespace moescope::analysis {

interval wilson(uint64_t hits, uint64_t rows) {
    if (rows == 0 || hits > rows) {
        return {};
    }
    constexpr double z = 1.959963984540054;  // the 97.5 % point of the normal distribution
    const double     n = static_cast<double>(rows), p = static_cast<double>(hits) / n;
    const double     centre = (p + z * z / (2 * n)) / (1 + z * z / n);
    const double     half   = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n);
    return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

interval linear_ratio(const std::vector<double> & part, const std::vector<double> & whole) {
    const auto n     = static_cast<double>(part.size());
    double     parts = 0, all = 0;
    for (size_t i = 0; i < part.size(); ++i) {
        parts += part[i];
        all += whole[i];
    }
    if (part.size() < 2 || all <= 0) {
        return {};
    }
    const double ratio = parts / all;
    double       sum   = 0;
    for (size_t i = 0; i < part.size(); ++i) {
        const double off = part[i] - ratio * whole[i];
        sum += off * off;
    }
    const double half = 1.959963984540054 * std::sqrt(sum * n / (n - 1)) / all;
    return {ratio - half, ratio + half};
}

}  // namespace moescope::analysis
