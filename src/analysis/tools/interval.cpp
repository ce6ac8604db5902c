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

}  // namespace moescope::analysis
