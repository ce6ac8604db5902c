#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/routing.hpp"

namespace moescope::analysis {

// Bytes of one expert in each block of a model: its gate, up and down matrices together.
struct expert_sizes {
    struct block : block_id {
        uint64_t bytes    = 0;
        uint32_t n_expert = 0;
    };
    std::vector<block> blocks;

    const block * find(const block_layout & l) const;  // null: not known
    uint64_t      of(const block_layout & l) const;    // bytes; 0: not known
};

// Of a GGUF model (GroveMoE's chunk experts are block 1). Biases and scales, which are small and stay whole, are left out.
// Throws error where the file is not a model with experts.
expert_sizes read_expert_sizes(const std::string & model_path);

// How large a weight tensor is, whole and in the pieces that a graph may read of it. Bytes.
struct weight_size {
    uint64_t whole   = 0;
    uint64_t row     = 0;  // one of ne[1] rows: what a lookup reads for a token
    uint64_t n_slice = 1;  // experts it holds
    int32_t  layer   = -1;
};
using weight_sizes = std::unordered_map<std::string, weight_size>;  // by tensor name

// Of every tensor of a GGUF model, split ones too. Throws error where the file is none.
weight_sizes read_weight_sizes(const std::string & model_path);

}  // namespace moescope::analysis
