#pragma once

#include <vector>

#include "core/expert_mask.hpp"
#include "gguf/model_file.hpp"

namespace moescope::gguf {

// The router of every layer that has one, MTP blocks included, in ascending order: what a mask must fit.
std::vector<router_shape> router_shapes(const model_file & model);

}  // namespace moescope::gguf
