#pragma once

#include <cstdint>
#include <vector>

namespace moescope::analysis {

// Jensen–Shannon distance of two distributions given as counts: the root of the divergence with base-2 logarithms, 0 for
// equal shares, 1 for disjoint ones (Endres and Schindelin 2003). Unknown where either is empty. Same length.
double jensen_shannon(const std::vector<uint64_t> & a, const std::vector<uint64_t> & b);

// What jensen_shannon(a, b) shows when both are rows of one routing: the mean over ways to deal out the selections of both
// anew (repeatable draws; where both are many, to second order, JS² = (S − 1) (1/Σa + 1/Σb) / (8 ln 2) for S experts ever
// selected). The k ids of a row are distinct and vary less than k free draws, by (E − k) / (E − 1); with k = 1 nothing is
// taken off. Unknown where either is empty.
double jensen_shannon_by_chance(const std::vector<uint64_t> & a, const std::vector<uint64_t> & b, uint32_t k);

// Spearman's rank correlation, ties at their mean rank. Unknown for fewer than two values or where one side is constant.
double rank_correlation(const std::vector<uint64_t> & a, const std::vector<uint64_t> & b);

}  // namespace moescope::analysis
