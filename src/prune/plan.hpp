#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "gguf/expert_tensor.hpp"
#include "gguf/model_file.hpp"
#include "prune/expert_ids.hpp"
#include "prune/scores.hpp"

namespace moescope::prune {

// What to keep. Either `criterion` with scores (or a seed), or prune_criterion::ids with the ids themselves.
struct prune_request {
    prune_criterion     criterion = prune_criterion::reap;
    uint32_t            n_keep    = 0;  // experts per layer; ignored for ids
    expert_scores       scores;         // unused for random and ids
    expert_ids_by_layer keep_ids;       // for ids
    expert_ids_by_layer protect;        // stay whatever their score; every_layer (-1) holds for all layers
    uint64_t            seed = 0;       // for random, and for MTP blocks that the scores do not cover
};

struct layer_plan {
    int                  layer  = 0;
    bool                 is_mtp = false;
    std::vector<int32_t> kept;              // old ids, ascending: the new id is the position
    uint64_t             bytes_before = 0;  // of the layer's tensors with an expert dimension
    uint64_t             bytes_after  = 0;
};

// One tensor of the source, in order. part none: copied whole.
struct tensor_plan {
    size_t              tensor = 0;  // index into model_file::tensors()
    int                 layer  = -1;
    gguf::expert_layout layout;
};

struct prune_plan {
    gguf::moe_shape           shape;       // of the source
    uint32_t                  n_keep = 0;  // experts per layer afterwards
    std::map<int, layer_plan> layers;
    std::vector<tensor_plan>  tensors;
    std::vector<std::string>  warnings;          // sentences for the user
    uint64_t                  bytes_before = 0;  // of all tensor data, without padding
    uint64_t                  bytes_after  = 0;
};

// Decides what goes, without touching a file. Throws error with the reason where llama.cpp could not load or would
// misread the result, and where the request does not fit the model; docs/prune.md lists the rules.
prune_plan plan_prune(const gguf::model_file & model, const prune_request & request);

// How many experts to keep so that at most the share `ratio` goes: the smallest allowed count (groups, chunks) that is
// no less than (1 - ratio) * n_expert.
uint32_t keep_for_ratio(const gguf::moe_shape & shape, double ratio);

}  // namespace moescope::prune
