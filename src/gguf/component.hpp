#pragma once

#include <string>

#include "gguf/tensor_name.hpp"

namespace moescope::gguf {

// What a tensor is in plain words: "Attention Q", "FFN Down Experts", "FFN Down Expert 5" for one of its slices.
// expert_id: -1 for a whole tensor. docs/memory-map.md has the table.
std::string component_type(const tensor_name & name, int expert_id = -1);

// The same without the id, for totals: "FFN Down Expert".
std::string component_group(const tensor_name & name, bool is_expert_slice);

}  // namespace moescope::gguf
