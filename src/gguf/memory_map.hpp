#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gguf/expert_tensor.hpp"
#include "gguf/model_file.hpp"
#include "gguf/moe_shape.hpp"

namespace moescope::gguf {

// One contiguous range of a model file: a tensor, or the slice of an expert tensor that holds one expert.
struct map_entry {
    std::string            name;            // of a slice: "blk.0.ffn_down_exps.weight[5]"
    size_t                 tensor    = 0;   // index into model_file::tensors()
    int                    expert_id = -1;  // -1: not a slice
    uint64_t               offset    = 0;   // bytes from the start of its part's data section
    uint64_t               size      = 0;   // bytes
    int                    layer     = -1;  // -1 outside the layers
    std::string            component;       // see component_type
    uint32_t               n_dims = 0;
    std::array<int64_t, 4> dims   = {};  // unused ones are 0
};

struct map_totals {
    uint64_t n_tensors     = 0;
    uint64_t n_experts     = 0;  // expert weight matrices, whether listed one by one or not
    uint64_t bytes         = 0;  // of all tensors
    uint64_t bytes_experts = 0;  // of the expert weight matrices
    // What one decoded token reads at most: all dense tensors of the layers that run, one row of each lookup table,
    // and k of E experts with their biases and scales. 0 where the metadata do not say k.
    uint64_t                                      bytes_per_token = 0;
    std::vector<std::pair<std::string, uint64_t>> by_component;  // component_group -> bytes, in order of appearance
    std::map<int, uint64_t>                       by_layer;      // -1: outside the layers
};

struct memory_map {
    moe_shape              shape;
    std::vector<map_entry> entries;  // in file order
    map_totals             totals;
};

// split_experts: one entry for each expert of an expert weight matrix; biases and scales stay whole.
memory_map build_memory_map(const model_file & model, bool split_experts = true);

}  // namespace moescope::gguf
