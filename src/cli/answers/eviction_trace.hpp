#pragma once

// `analyze cache --eviction-trace`: what a cache does with every single read, for those who write one.

#include "analysis/cache_study.hpp"
#include "cli/terminal/result_file.hpp"

namespace moescope::cli {

// Simulates the plan and writes a line of CSV for each read and number of slots: ubatch, layer, block, expert, slots, and
// for each policy whether it hit (1 or 0) and what it drove out ("layer/expert", "layer.1/expert" in a second block; empty:
// nothing). Belady's optimum and static drive out nothing by themselves: the first is left out.
analysis::cache_result simulate_with_evictions(analysis::cache_study & study, analysis::cache_plan plan,
                                               const output_options & output);

}  // namespace moescope::cli
