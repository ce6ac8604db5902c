#include "trace/format.hpp"

#include <cmath>
#include <cstddef>

#include "io/hash.hpp"
#include "io/path.hpp"

namespace moescope::trace {

chunk_header make_chunk_header(chunk_kind kind, const void * payload, size_t size) {
    chunk_header h = {};
    std::memcpy(h.magic, chunk_magic, sizeof(h.magic));
    h.kind      = static_cast<uint32_t>(kind);
    h.size      = size;
    h.hash      = io::hash_bytes(payload, size);
    h.head_hash = io::hash_bytes(&h, offsetof(chunk_header, head_hash));
    return h;
}

bool header_is_whole(const chunk_header & h) {
    return std::memcmp(h.magic, chunk_magic, sizeof(h.magic)) == 0 &&
           h.head_hash == io::hash_bytes(&h, offsetof(chunk_header, head_hash));
}

std::string part_path(const std::string & path, uint32_t part) {
    if (part == 1) {
        return path;
    }
    const std::string stem = io::without_suffix(path, file_suffix);
    return stem + ".part" + std::to_string(part) + path.substr(stem.size());
}

uint16_t to_f16(float value) {
    uint32_t x;
    std::memcpy(&x, &value, sizeof(x));
    const uint16_t sign      = static_cast<uint16_t>((x >> 16) & 0x8000);
    const uint32_t magnitude = x & 0x7fffffff;
    if (magnitude > 0x7f800000) {
        return sign | 0x7e00;  // NaN
    }
    if (magnitude >= 0x477ff000) {
        return sign | 0x7c00;  // rounds to infinity
    }
    if (magnitude < 0x38800000) {  // subnormal half: let the FPU round to a multiple of 2^-24
        return sign | static_cast<uint16_t>(std::lrint(std::ldexp(std::fabs(value), 24)));
    }
    const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
    return sign | static_cast<uint16_t>((rounded - 0x38000000) >> 13);
}

float from_f16(uint16_t bits) {
    const float    sign     = (bits & 0x8000) ? -1.0f : 1.0f;
    const uint32_t exponent = (bits >> 10) & 0x1f;
    const uint32_t mantissa = bits & 0x3ff;
    if (exponent == 0x1f) {
        return mantissa ? NAN : sign * INFINITY;
    }
    return sign * (exponent ? std::ldexp(static_cast<float>(mantissa | 0x400), static_cast<int>(exponent) - 25)
                            : std::ldexp(static_cast<float>(mantissa), -24));
}

}  // namespace moescope::trace
