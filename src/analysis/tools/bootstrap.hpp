#pragma once

#include <cstddef>
#include <vector>

#include "analysis/tools/interval.hpp"

namespace moescope::analysis {

// The 95 % percentile bootstrap interval of a ratio of sums, Σ part_i / Σ whole_i, over units i that are drawn whole
// (sequences, whose rows depend on each other). Unknown for fewer than two units; of more than 4096, neighbours are drawn
// together. Repeats exactly.
interval bootstrap_ratio(const std::vector<double> & part, const std::vector<double> & whole);

// The same of several parts of one whole, over the same draws.
std::vector<interval> bootstrap_ratios(const std::vector<std::vector<double>> & parts,
                                       const std::vector<double> &              whole);

// How far the ratio of `first` lies above each of the others, Σ parts[first] / Σ whole − Σ parts[i] / Σ whole, over the same
// units. The 95 % intervals hold for the differences of every two ratios at once (bootstrap of the largest standardised
// deviation, Romano and Wolf 2005), so they stay true where `first` was chosen on these data, as the best of all (Hsu 1984).
// Unknown for fewer than two units, and for i = first.
std::vector<interval> bootstrap_lead(const std::vector<std::vector<double>> & parts, const std::vector<double> & whole,
                                     size_t first);

}  // namespace moescope::analysis
