#pragma once

#include <cstdint>
#include <string>

#include "core/expert_mask.hpp"
#include "stats/moestats.hpp"

namespace moescope::cli {

// `profile --rounds R --keep N`: experts go in R steps, and between them the model is profiled without those that went, since
// what an expert is good for depends on who is left. The last step is prune's.

// How many experts each layer of the model has left after so many of the rounds: evenly, in numbers that its router allows.
uint32_t left_after(const std::string & model, uint32_t n_keep, uint32_t round, uint32_t n_rounds);

// Omits what the best plan of this profile for n_keep experts removes, and what was omitted while it was made.
expert_mask mask_after(const stats::moestats & profile, const std::string & source, const std::string & model,
                       uint32_t n_keep);

// NAME.moestats -> NAME.round1.moestats
std::string round_path(const std::string & sums, uint32_t round);

}  // namespace moescope::cli
