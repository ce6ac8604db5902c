#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace moescope::gguf {

// Which expert of the model that was neither pruned nor reordered each expert of a file is.
struct first_ids {
    uint32_t n_expert = 0;  // of that model, per layer; 0: the file's ids are the first ones
    std::map<int32_t, std::vector<uint32_t>> of_layer;  // [id] first id; a layer that is not here kept its ids
};

// From the keys that prune and reorder write. Throws error naming the file where they name experts that there never were.
first_ids read_first_ids(const std::string & path);

}  // namespace moescope::gguf
