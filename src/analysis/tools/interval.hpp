#pragma once

#include <cstdint>
#include <vector>

#include "analysis/tools/unknown.hpp"

namespace moescope::analysis {

struct interval {
    double low  = unknown;
    double high = unknown;
};

// The 95 % interval of a share of `hits` in `rows` independent rows (Wilson 1927).
interval wilson(uint64_t hits, uint64_t rows);

// The 95 % interval of a ratio of sums, Σ part_i / Σ whole_i, over units i whose rows depend on each other: ± 1.96 standard
// errors of the linearised ratio (Cochran 1977, Eq. 6.13, without the correction for finite populations). Takes one pass,
// where bootstrap_ratio takes thousands. Unknown for fewer than two units.
interval linear_ratio(const std::vector<double> & part, const std::vector<double> & whole);

}  // namespace moescope::analysis
