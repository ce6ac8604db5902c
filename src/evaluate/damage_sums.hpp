#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "analysis/tools/interval.hpp"
#include "evaluate/row_score.hpp"

namespace moescope::evaluate {

// What is added up over predicted tokens, and over the selections of experts that led to them.
struct damage_sums {
    double tokens      = 0;  // predictions compared
    double nll_full    = 0;  // nats
    double nll_changed = 0;
    double kl          = 0;
    double same_top    = 0;  // predictions whose likeliest token is the same
    double top5        = 0;  // of n_best per prediction
    double selections  = 0;  // the full model's, where both can be compared
    double displaced   = 0;  // of them, those that the changed model does not make

    static constexpr size_t n = 8;

    std::array<double, n> values() const {
        return {tokens, nll_full, nll_changed, kl, same_top, top5, selections, displaced};
    }
    static damage_sums of(const std::array<double, n> & v) { return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]}; }

    void          add(const row_score & s);
    damage_sums & operator+=(const damage_sums & o);
};

// A mean with its 95 % interval.
struct estimate {
    double             value = analysis::unknown;
    analysis::interval range;
};

// The damage per predicted token, in nats and bits; shares are of 1. Unknown where nothing was added up.
struct damage {
    uint64_t tokens = 0;
    estimate bits_full, bits_changed;  // −log2 of the probability of the text's next token
    estimate delta_nll;                // nats: how much worse the text is predicted
    estimate kl;                       // nats: how far the predictions lie apart
    estimate same_top, top5;           // the likeliest token agrees; mean share of the five likeliest that agree
    estimate displaced;                // selections that fall on another expert
};

// Intervals are paired: full and changed model see the same units, which are drawn whole (percentile bootstrap, Efron 1979,
// as analysis::bootstrap_ratio does it). Unknown for fewer than two units.
damage summarize(const std::vector<damage_sums> & units);

}  // namespace moescope::evaluate
