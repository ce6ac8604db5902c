#pragma once

#include <cstdint>
#include <string>

#include "core/routing.hpp"

struct llama_model;

namespace moescope::infer {

// What a loaded model says about itself; `file` is its path without folders.
model_info describe_model(const llama_model * model, const std::string & path);

// Tells models apart without reading them whole: XXH3-64 over the (first) file's size and 64 KiB at each of 16 evenly
// spaced places. Throws error naming the file.
uint64_t fingerprint(const std::string & path);

}  // namespace moescope::infer
