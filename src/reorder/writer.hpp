#pragma once

#include <cstdint>
#include <string>

#include "prune/sliced_copy.hpp"
#include "reorder/plan.hpp"
#include "stats/moestats.hpp"

namespace moescope::reorder {

// What the reordered file says about where it comes from (keys moescope.reorder.*, docs/reorder.md). Names without folders.
struct reorder_provenance {
    std::string trace;            // that the order was learned from
    bool        inverse = false;  // an order is undone: nothing of moescope.reorder.* remains
};

// Writes the model with its experts in the planned order. Every tensor keeps its name, type, shape and size, every slab and
// row its bytes; only what is not a tensor of experts is where it was. The inverse plan of such a file gives the first one
// back, byte for byte, where that was one file with its tensors laid out as ggml lays them.
// As prune::write_pruned: complete or not at all. Returns the file's size.
uint64_t write_reordered(const gguf::model_file & model, const reorder_plan & plan,
                         const reorder_provenance & provenance, const std::string & path,
                         const prune::copy_progress & progress = {});

// A profile of the model. Throws error where it is of another file.
stats::moestats read_stats_of(const std::string & profile, const gguf::model_file & model);

// The same for the reordered one: the sums of each expert under its new number, and that file's name, size and fingerprint.
void write_reordered_stats(stats::moestats profile, const reorder_plan & plan, const std::string & reordered_model,
                           const std::string & path);

}  // namespace moescope::reorder
