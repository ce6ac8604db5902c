#pragma once

#include <cstdint>

#include "gguf/model_file.hpp"

namespace moescope::prune {

// The most experts per layer whose pruned file takes at most so many bytes, by the counts that check_expert_count accepts.
// Up to a few KiB less is used than is allowed: which ids stay is not known yet, and the file lists them. Throws error where
// the model is no larger as it is, and where not even the fewest experts fit, with what they take.
uint32_t keep_for_size(const gguf::model_file & model, uint64_t bytes);

}  // namespace moescope::prune
