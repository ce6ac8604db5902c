#pragma once

#include <limits>

namespace moescope::analysis {

// "Cannot be had": printed as a dash, null in JSON, empty in CSV.
inline constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

}  // namespace moescope::analysis
