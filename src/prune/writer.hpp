#pragma once

#include <cstdint>
#include <string>

#include "prune/plan.hpp"
#include "prune/sliced_copy.hpp"

namespace moescope::prune {

// What the pruned file says about where it comes from (keys moescope.prune.*, docs/prune.md). File names without folders.
struct prune_provenance {
    std::string criterion;   // "reap", …
    std::string statistics;  // file the scores or ids come from, may be empty
    uint64_t    seed = 0;    // written for criterion random
};

struct prune_result {
    uint64_t file_size         = 0;  // bytes
    uint64_t hash_ids_replaced = 0;  // places in hash tables that named a removed expert
};

// How large the file of write_pruned is.
uint64_t pruned_size(const gguf::model_file & model, const prune_plan & plan, const prune_provenance & provenance);

// Writes the planned model to `path` (under a temporary name until it is complete, replacing what is there).
// Throws error when the disk is too small, when path is the model itself (usage_error), or when progress says to stop.
prune_result write_pruned(const gguf::model_file & model, const prune_plan & plan, const prune_provenance & provenance,
                          const std::string & path, const copy_progress & progress = {});

// Slices an imatrix (GGUF) that was made for the unpruned model, so that it fits the pruned one. Returns the file size.
// Throws error when it does not fit the model.
uint64_t write_pruned_imatrix(const gguf::model_file & imatrix, const prune_plan & plan, const std::string & path);

}  // namespace moescope::prune
