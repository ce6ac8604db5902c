#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moescope::stats {

// Sums over the rows that were routed to an expert, with g its gate weight, f its output, h the residual stream in front of
// the block and h + y behind it. Each is indexed by expert id, or by label and expert id; empty where it was not captured.
struct expert_sums {
    std::vector<double> gate;           // Σ g
    std::vector<double> gated_norm;     // Σ g·‖f‖
    std::vector<double> norm;           // Σ ‖f‖
    std::vector<double> norm_squared;   // Σ ‖f‖²
    std::vector<double> gated_squared;  // Σ g²·‖f‖²
    std::vector<double> easy_ep;        // Σ g·‖f‖·max(0, 1 − cos(h, h + y))
    std::vector<double> removal;  // Σ ‖y − y′‖² / ‖h + y‖², y′ the output if the router did not have the expert
};

// All of them, in the order in which a .moestats has them.
inline constexpr std::vector<double> expert_sums::*all_expert_sums[] = {
    &expert_sums::gate,          &expert_sums::gated_norm, &expert_sums::norm,    &expert_sums::norm_squared,
    &expert_sums::gated_squared, &expert_sums::easy_ep,    &expert_sums::removal,
};

// Sums of pairs of experts that rows select together are kept once for each pair a < b: [n (n - 1) / 2].
constexpr size_t n_pairs(size_t n_expert) {
    return n_expert * (n_expert - (n_expert > 0 ? 1 : 0)) / 2;
}
constexpr size_t pair_index(size_t a, size_t b, size_t n_expert) {
    const size_t low = a < b ? a : b, high = a < b ? b : a;
    return low * (2 * n_expert - low - 1) / 2 + (high - low - 1);
}

}  // namespace moescope::stats
