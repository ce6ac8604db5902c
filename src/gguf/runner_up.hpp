#pragma once

#include <string>

#include "gguf/model_file.hpp"

namespace moescope::gguf {

// Why llama.cpp cannot load the model with one expert more than a token uses, so that the output of the one that would be
// selected next is computed too. Empty: it can, by an override of `<arch>.expert_used_count`.
std::string runner_up_obstacle(const model_file & model);

}  // namespace moescope::gguf
