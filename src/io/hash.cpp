#include "io/hash.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "io/hash_avx2.hpp"

namespace moescope::io {

uint64_t hash_bytes(const void * data, size_t size) {
#ifdef MOESCOPE_HASH_AVX2
    static const bool has_avx2 = __builtin_cpu_supports("avx2");
    if (has_avx2) {
        return hash_bytes_avx2(data, size);
    }
#endif
    return XXH3_64bits(data, size);
}

uint64_t hash_bytes(const void * data, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(data, size, seed);
}

}  // namespace moescope::io
