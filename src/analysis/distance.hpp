#pragma once

#include <cstdint>
#include <vector>

namespace moescope::analysis {

// Jensen–Shannon distance of two distributions given as counts: the root of the divergence with base-2 logarithms, 0 for
// equal shares, 1 for disjoint ones (Endres and Schindelin 2003). Unknown where either is empty. Same length.
double jensen_shannon(const std::vector<uint64_t> & a, const std::vector<uint64_t> & b);

// Spearman's rank correlation, ties at their mean rank. Unknown for fewer than two values or where one side is constant.
double rank_correlation(const std::vector<uint64_t> & a, const std::vector<uint64_t> & b);

}  // namespace moescope::analysis
