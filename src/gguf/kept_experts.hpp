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

// Throws error naming `path` where a list names an expert that there never was.
kept_experts read_kept_experts(const model_metadata & metadata, uint32_t n_layer, const std::string & path);

}  // namespace moescope::gguf
