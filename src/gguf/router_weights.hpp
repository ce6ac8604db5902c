#pragma once

#include <cstdint>
#include <vector>

#include "gguf/model_file.hpp"
#include "gguf/moe_shape.hpp"

namespace moescope::gguf {

// The router of one layer, as floats whatever type the file holds.
struct router_weights {
    int32_t            layer    = 0;
    uint32_t           n_expert = 0;
    uint32_t           n_embd   = 0;
    std::vector<float> rows;            // [n_expert][n_embd] ffn_gate_inp.weight
    std::vector<float> bias;            // [n_expert] of the logits; empty: none
    std::vector<float> selection_bias;  // [n_expert] exp_probs_b, added to the scores for the selection; empty: none
};

// The routers of all layers that have one, by layer. Throws error where a tensor has another shape, or a type that ggml
// cannot turn into floats.
std::vector<router_weights> read_routers(const model_file & model);

}  // namespace moescope::gguf
