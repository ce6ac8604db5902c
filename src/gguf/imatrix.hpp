#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace moescope::gguf {

// How often llama.cpp's imatrix saw each expert selected while it computed its text: the `<tensor>.counts` of its GGUF
// file. Layers without counts per expert are absent.
struct imatrix {
    struct layer {
        std::string              tensor;    // whose counts these are; a layer's matrices all have the same
        std::vector<std::string> others;    // matrices whose counts differ from these
        std::vector<uint64_t>    count;     // [n_expert] selections, rounded from 2^24 on: imatrix keeps them in f32
        uint64_t                 rows = 0;  // that the router computed, 0: not in the file
    };
    std::map<int32_t, layer> layers;    // by il
    std::vector<std::string> datasets;  // that it was made from
};

// Throws error when the file is not an imatrix in GGUF, has no expert counts, or counts that cannot be selections.
imatrix read_imatrix(const std::string & path);

}  // namespace moescope::gguf
