#pragma once

#include <optional>

#include "analysis/summary.hpp"

namespace moescope::analysis {

// What stands out of a summary against random routing of as many rows. Nothing where nothing does.

// The expert that is furthest above its fair share k / E of the rows, where that is no accident.
struct leaning {
    block_layout layout;
    uint32_t     expert     = 0;
    double       vs_balance = unknown;  // share of the block's selections times E
    double       limit      = unknown;  // random routing exceeds it in fewer than 1 of 100 traces, whichever the expert
};

// A measure beside what chance alone gives.
struct beside_chance {
    double measured = unknown, chance = unknown;
};

struct findings {
    std::optional<leaning>       leans;
    std::optional<beside_chance> never_used;  // experts; more than 3 standard deviations (Poisson) above chance
    // Shares; at least a tenth above chance.
    std::optional<beside_chance> lru;      // summary_result::lru_hits
    std::optional<beside_chance> repeats;  // overlap_next; chance: of any two tokens
    std::optional<beside_chance> phases;   // phase_distance
};

findings find(const summary_result & s);

// The smallest count that a binomial of n and p reaches with a probability below `most`: summed term by term, from the
// normal limit where the variance is above 10,000.
uint64_t binomial_limit(uint64_t n, double p, double most);

}  // namespace moescope::analysis
