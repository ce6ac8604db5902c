#pragma once

#include <cstdio>
#include <string>

#include "stats/moestats.hpp"

namespace moescope::cli {

// How a layer's weight lies on its experts.
struct layer_weight {
    uint32_t dead = 0, highest = 0, lowest = 0;  // experts: never selected; of the highest and lowest REAP
    uint32_t half = 0, most = 0;                 // the fewest experts that hold 50 % and 90 % of Σ g·‖f‖
    uint64_t rarest = 0;                         // rows of the least used expert that was used at all
    uint32_t broken = 0;                         // experts whose REAP is not a finite number
};
layer_weight weigh(const stats::saliency_block & b);

// In words, whether the corpus was enough for the rarest experts; or that the scores are not finite.
std::string corpus_verdict(const stats::moestats & s);

// Prints a table with one line per MoE layer, and the verdict.
void print_profile(std::FILE * out, const stats::moestats & s);

}  // namespace moescope::cli
