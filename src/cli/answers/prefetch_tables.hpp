#pragma once

// The tables of `analyze prefetch`.

#include "analysis/prefetch.hpp"
#include "cli/terminal/answer.hpp"

namespace moescope::cli {

// What the simulation is told, in the units of people.
struct prefetch_machine {
    double bandwidth     = 0;  // bytes per second
    double slice_bytes   = 0;  // 0: unknown, nothing is simulated
    double layer_seconds = 0;

    double slice_time() const { return slice_bytes / bandwidth / layer_seconds; }  // in times of a layer
};

table recall_table(const analysis::prefetch_result & r);
table prefetch_layers_table(const analysis::prefetch_result & r);  // for people: a line per layer
table layer_recall_table(const analysis::prefetch_result & r);  // the same in full: intervals, and lists of 2k and 3k
table stall_table(const analysis::prefetch_result & r, const prefetch_machine & m);

}  // namespace moescope::cli
