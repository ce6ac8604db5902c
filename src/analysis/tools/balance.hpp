#pragma once

#include <array>
#include <cstdint>

#include "analysis/tools/unknown.hpp"
#include "core/span.hpp"

namespace moescope::analysis {

inline constexpr std::array<double, 4> coverage_levels = {0.50, 0.80, 0.90, 0.95};

// How evenly n_expert experts share their selections. Unknown (NaN) where nothing was selected.
struct balance {
    uint64_t              selections = 0;  // Σ c_e
    uint32_t              n_expert   = 0;
    double                dead       = 0;        // experts with c_e = 0
    double                entropy    = unknown;  // −Σ p_e ln p_e / ln E: 1 where all are equal, 0 where one has all
    double                gini       = unknown;  // Σ_e Σ_f |c_e − c_f| / (2 E Σ c): 0 where all are equal
    double                max_vio    = unknown;  // (max − mean) / mean (Wang et al. 2024, arXiv:2408.15664)
    std::array<double, 4> coverage   = {unknown, unknown, unknown, unknown};  // the fewest experts that hold
                                                                              // coverage_levels of the selections
};
balance measure_balance(span<const uint64_t> count);

// What the same measures show when every row selects its k distinct experts at random: their means, since a finite
// number of rows never looks perfectly even. dead is exact, E (1 − k/E)^rows; the rest are means of draws (row by row
// where they are few, else from the normal limit of the counts), and repeat exactly.
struct balance_chance {
    balance mean;
    double  p_dead = unknown;  // that one given expert is never selected
};
// distinct: a row's ids differ from each other (GroveMoE's second block: false). k = 0 or rows = 0: all unknown.
balance_chance balance_by_chance(uint64_t rows, uint32_t k, uint32_t n_expert, bool distinct = true);

}  // namespace moescope::analysis
