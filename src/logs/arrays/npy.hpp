#pragma once

#include "core/span.hpp"
#include "logs/arrays/array_view.hpp"

namespace moescope::logs {

inline constexpr char npy_magic[] = "\x93NUMPY";

// The array of a .npy file (versions 1 to 3, little-endian numbers, C order) that these bytes hold; they must outlive it.
// Throws error naming `what`.
array_view read_npy(span<const uint8_t> bytes, const std::string & what);

}  // namespace moescope::logs
