#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "gguf/metadata.hpp"

namespace moescope::gguf {

// Which experts of the model that was never pruned a pruned file holds (keys moescope.prune.*, docs/prune.md).
struct kept_experts {
    uint32_t                                 n_expert = 0;  // per layer before any pruning; 0: the file was not pruned
    std::map<int32_t, std::vector<uint32_t>> of_layer;      // [new id] old id, by layer

    bool pruned() const { return n_expert > 0; }
};

// The lists once more as a text, "0:1,2,5;1:0,3,4": llama.cpp keeps no arrays of a model's metadata, so it is the text that
// gets into a trace.
inline constexpr char kept_experts_key[] = "moescope.prune.kept_experts";
std::string           to_text(const kept_experts & kept);

// Out of such a text; pruned() is false where it is none. n_expert: as kept_experts has it.
kept_experts parse_kept_experts(const std::string & text, uint32_t n_expert);

// Throws error naming `path` where a list names an expert that there never was.
kept_experts read_kept_experts(const model_metadata & metadata, uint32_t n_layer, const std::string & path);

}  // namespace moescope::gguf
