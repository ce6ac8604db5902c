#pragma once

#include <cstdint>
#include <string>

#include "core/routing.hpp"

struct llama_model;

namespace moescope::infer {

// What a loaded model says about itself; `file` is its path without folders.
model_info describe_model(const llama_model * model, const std::string & path);

}  // namespace moescope::infer
