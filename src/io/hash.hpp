#pragma once

#include <cstddef>
#include <cstdint>

namespace moescope::io {

// XXH3-64.
uint64_t hash_bytes(const void * data, size_t size);
uint64_t hash_bytes(const void * data, size_t size, uint64_t seed);

}  // namespace moescope::io
