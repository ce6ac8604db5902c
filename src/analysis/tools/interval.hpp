#pragma once

#include <cstdint>

#include "analysis/tools/unknown.hpp"

namespace moescope::analysis {

struct interval {
    double low  = unknown;
    double high = unknown;
};

// The 95 % interval of a share of `hits` in `rows` independent rows (Wilson 1927).
interval wilson(uint64_t hits, uint64_t rows);

}  // namespace moescope::analysis
