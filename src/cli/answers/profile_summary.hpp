#pragma once

#include <cstdio>

#include "stats/moestats.hpp"

namespace moescope::cli {

// Prints a table with one line per MoE layer, and in words whether the corpus was enough for the rarest experts.
void print_profile(std::FILE * out, const stats::moestats & s);

}  // namespace moescope::cli
