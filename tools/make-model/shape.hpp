#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moescope::make_model {

// What a model is made of. A zero means "the architecture's own choice" (see metadata.cpp).
struct model_shape {
    std::string arch = "qwen3moe";  // llama.cpp's name of the architecture

    uint32_t n_layer  = 0;     // without the nextn blocks
    uint32_t n_embd   = 0;     // width of the residual stream
    uint32_t n_ff     = 0;     // width of dense feed-forward blocks
    uint32_t n_ff_exp = 0;     // width of one expert
    uint32_t n_vocab  = 0;     // at least n_vocab_min (tokenizer.hpp)
    uint32_t n_ctx    = 4096;  // the context the model claims to be trained for

    uint32_t n_expert      = 8;  // 0: a dense model, where the architecture has one
    uint32_t n_expert_used = 3;  // top-k

    uint32_t n_expert_groups      = 0;  // grouped routing: groups, and how many of them a token may use
    uint32_t n_expert_groups_used = 0;
    uint32_t n_experts_per_group  = 1;  // GroveMoE: experts that share one adjugate expert
    uint32_t n_layer_nextn        = 0;  // MTP blocks behind the last layer
    uint32_t n_hash_layers        = 0;  // DeepSeek 4: leading layers that look their experts up by token id

    uint32_t gating = 0;                             // llama.cpp's number: 1 softmax, 2 sigmoid, 3 softmax over the
                                                     // selected, 4 sqrt of softplus; where the file decides
    float                 expert_weights_scale = 0;  // what the gate weights are multiplied by; 0: nothing
    bool                  expert_weights_norm  = false;
    std::vector<uint32_t> n_expert_used_per_layer;  // instead of n_expert_used, where the architecture allows it
};

}  // namespace moescope::make_model
