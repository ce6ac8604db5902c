#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gguf/metadata.hpp"

namespace moescope::gguf {

// What a model's metadata say about its mixture of experts. Names as in llama.cpp's hparams.
struct moe_shape {
    std::string           arch;
    std::string           name;                   // general.name, may be empty
    uint32_t              n_layer       = 0;      // block_count, MTP blocks included
    uint32_t              n_layer_nextn = 0;      // how many of them, at the end, are MTP blocks
    uint32_t              n_expert      = 0;      // 0: not a mixture of experts
    std::vector<uint32_t> n_expert_used;          // [n_layer]; empty where unknown
    uint32_t              n_expert_groups   = 0;  // 0 and 1: no groups
    uint32_t              n_group_used      = 0;
    uint32_t              experts_per_chunk = 0;  // GroveMoE: experts that share one adjugate ("chunk") expert; else 0

    bool     is_mtp(int il) const { return n_layer_nextn > 0 && il >= static_cast<int>(n_layer - n_layer_nextn); }
    uint32_t n_expert_used_at(int il) const;  // 0 where unknown
    uint32_t n_expert_used_max() const;
};

// Throws error when a count is larger than llama.cpp can hold; a missing key is 0.
moe_shape read_moe_shape(const model_metadata & metadata);

}  // namespace moescope::gguf
