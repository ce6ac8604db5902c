#pragma once

#include <cstdint>
#include <vector>

#include "gguf/moe_shape.hpp"
#include "stats/saliency.hpp"

namespace moescope::prune {

// HOPE (arXiv:2609.18916): what goes is chosen together, for the least sum over all pairs of it,
//
//     Q(P) = Σ_{i, j ∈ P} F_ij      F_ij = mean of a_i·a_j over the rows that select both, a = g·‖f‖
//
// with F_ii the mean of a_i² over the expert's rows, and 0 for pairs that no row selects.
class hope_objective {
public:
    explicit hope_objective(const stats::saliency_block & b);

    uint32_t n_expert() const { return n_; }
    double   pair(size_t i, size_t j) const { return f_[i * n_ + j]; }
    // Q of the experts that are not in `kept`, ascending old ids.
    double of_plan(const std::vector<int32_t> & kept) const;

private:
    uint32_t            n_;
    std::vector<double> f_;  // [n][n]
};

// Score 1 for experts that stay and 0 for those that go. Greedily, then by swapping pairs until no swap makes Q smaller.
// Every group of the router loses the same number; what shares a chunk expert goes together.
std::vector<double> solve_hope(const hope_objective & objective, const gguf::moe_shape & shape, uint32_t n_keep,
                               const std::vector<bool> & is_protected);

}  // namespace moescope::prune
