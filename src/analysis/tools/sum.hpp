#pragma once

#include <numeric>
#include <vector>

namespace moescope::analysis {

inline double sum(const std::vector<double> & v) {
    return std::accumulate(v.begin(), v.end(), 0.0);
}

}  // namespace moescope::analysis
