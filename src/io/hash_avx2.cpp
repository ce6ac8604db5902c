// Compiled with -mavx2: nothing may be included here whose inline functions others share.

#include "io/hash_avx2.hpp"

#ifdef __AVX2__
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace moescope::io {

uint64_t hash_bytes_avx2(const void * data, size_t size) {
    return XXH3_64bits(data, size);
}

}  // namespace moescope::io
#endif
