#pragma once

// The part of a .moestats that is JSON: whose sums these are, and of what.

#include <nlohmann/json.hpp>

#include "stats/moestats.hpp"

namespace moescope::stats {

// Of everything but the blocks.
nlohmann::ordered_json head_to_json(const moestats & s);

// The same back; throws error or nlohmann::json::exception where it is damaged.
void head_from_json(const nlohmann::ordered_json & j, moestats & s);

}  // namespace moescope::stats
