#pragma once

// Finds the commonest way to get prompt tokens wrong: the ids of a layer are a strided view of an argsort of n_expert
// columns; read as if they were contiguous, a batch's rows are no selections but consecutive pieces of permutations.
// Then every n_expert consecutive ids hold each expert exactly once.
//
// Chance model: rows select k of n_expert experts uniformly and independently. The m rows that lie wholly in a window of
// n_expert ids must then be disjoint, which happens with
//
//     p = prod_{j < m} C(n_expert - j k, k) / C(n_expert, k)
//
// (for n_expert a multiple of k this is the chance of a partition; else an upper bound). Uneven use of experts only makes
// it rarer. Of n windows, x or more partition with a probability of at most C(n, x) p^x.

#include <cstdint>
#include <vector>

#include "core/routing.hpp"

namespace moescope::check {

class misread_test {
public:
    // Only layers with n_expert >= 4 k and distinct ids say anything; the others count no windows.
    void add(const block_rows & rows);

    uint64_t windows() const { return windows_; }
    uint64_t partitions() const { return partitions_; }
    double   expected() const;      // partitions by chance
    double   log10_chance() const;  // upper bound of the probability of as many by chance, 0 where there are none

private:
    uint64_t              windows_    = 0;
    uint64_t              partitions_ = 0;
    double                p_max_      = 0;  // the largest p of any window
    double                expected_   = 0;
    std::vector<uint64_t> seen_;  // [n_expert] the window that saw an expert last
    uint64_t              stamp_ = 0;
};

// The chance that m rows of k of n_expert are disjoint.
double chance_disjoint(uint32_t n_expert, uint32_t k, uint32_t m);

}  // namespace moescope::check
