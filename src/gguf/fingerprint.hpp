#pragma once

#include <cstdint>
#include <string>

#include "gguf/model_file.hpp"

namespace moescope::gguf {

// Tells models apart without reading them whole: XXH3-64 over the (first) file's size and 64 KiB at each of 16 evenly
// spaced places. Throws error naming the file.
uint64_t fingerprint(const std::string & path);

// Tells models of other shapes apart: XXH3-64 over the names and dimensions of all tensors, in the order of their names.
// Quantisations of one model have the same.
uint64_t shape_fingerprint(const model_file & model);

}  // namespace moescope::gguf
