#pragma once

#include <string>
#include <string_view>

namespace moescope::gguf {

// A tensor name taken apart: "blk.7.ffn_gate_exps.weight" is layer 7, base "ffn_gate_exps", suffix "weight".
struct tensor_name {
    int         layer = -1;  // -1 outside the layers
    std::string base;        // without "blk.7." ("enc.blk.7.", "dec.blk.7.") and without the suffix
    std::string suffix;      // "weight", "bias", "scale", "input_scale", "lora_a", "lora_b", or empty
};

tensor_name parse_tensor_name(std::string_view name);

}  // namespace moescope::gguf
