#pragma once

#include <string>

#include "stats/moestats.hpp"

namespace moescope::stats {

// expert_stats.json: an object with one key per MoE layer (its number as a decimal string), each holding total_tokens,
// activation_counts, activation_frequency, avg_gate_weight, ean_mean, reap and never_activated; arrays are indexed by
// expert id. GroveMoE's second blocks are left to the .moestats file.
std::string expert_stats_json(const moestats & s);

}  // namespace moescope::stats
