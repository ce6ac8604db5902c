#pragma once

#include <string>

#include "analysis/cache.hpp"

namespace moescope::analysis {

// Bytes of one expert in each block of a GGUF model: its gate, up and down matrices (GroveMoE's chunk experts are block 1).
// Biases and scales, which are small and stay whole, are left out. Throws error where the file is no model with experts.
expert_sizes read_expert_sizes(const std::string & model_path);

}  // namespace moescope::analysis
