#pragma once

#include <cstdint>
#include <string>

namespace moescope::make_model {

struct lora_options {
    uint32_t rank  = 4;
    float    alpha = 8.0f;
    uint64_t seed  = 1;
};

// Writes a LoRA adapter on every expert matrix and every router of the base model (a GGUF), with random factors large
// enough to change both routing and expert outputs. Throws moescope::error.
void write_lora(const std::string & path, const std::string & base_model, const lora_options & options = {});

}  // namespace moescope::make_model
