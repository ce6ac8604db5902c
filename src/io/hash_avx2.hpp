#pragma once

#include <cstddef>
#include <cstdint>

namespace moescope::io {

// The same XXH3 as hash_bytes, in code that only processors with AVX2 can run: every byte of a trace is hashed when it is
// written and when it is read. In builds for other processors (no MOESCOPE_HASH_AVX2) it does not exist.
uint64_t hash_bytes_avx2(const void * data, size_t size);

}  // namespace moescope::io
