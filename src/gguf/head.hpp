#pragma once

#include <cstdint>
#include <string>

namespace moescope::gguf {

// Whether a file begins as a GGUF file does; false where it cannot be read.
bool is_gguf(const std::string & path);

// What a GGUF says about its experts before any of its tensors is loaded.
struct model_head {
    std::string architecture;
    std::string name;             // general.name
    uint32_t    n_expert    = 0;  // 0: a dense model
    uint32_t    n_ctx_train = 0;  // 0: not said
};

// Reads the head of a (first) GGUF file. Throws error naming the file when it is missing, not a GGUF, or cut.
model_head read_head(const std::string & path);

// The same, and throws error "no MoE layers: …" for a dense model.
model_head require_moe(const std::string & path);

}  // namespace moescope::gguf
