#pragma once

// What the page reads: one JSON document and the numbers it refers to, as bytes.
//
//   8 bytes   "MOEPAGE0", or "MOEPAGEZ" where everything behind it is one zlib stream
//   u32       length of the JSON text; then the text, padded with spaces so that the arrays begin at a multiple of 8
//   arrays    little-endian, each padded to a multiple of 8
//
// The document's key "arrays" lists them as {type, offset, length}: type is u8, u16, u32, i32, f32 or f64, offset counts
// from the first array, length counts elements. Wherever the document holds {"@": i}, array i belongs there.
// web/src/bundle.ts is the other side.

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/span.hpp"

namespace moescope::report {

class bundle {
public:
    // Stores an array and returns the reference to put into the document.
    nlohmann::json add(span<const uint8_t> v) { return put("u8", v.data(), v.size(), 1); }
    nlohmann::json add(span<const uint16_t> v) { return put("u16", v.data(), v.size(), 2); }
    nlohmann::json add(span<const uint32_t> v) { return put("u32", v.data(), v.size(), 4); }
    nlohmann::json add(span<const int32_t> v) { return put("i32", v.data(), v.size(), 4); }
    nlohmann::json add(span<const float> v) { return put("f32", v.data(), v.size(), 4); }
    nlohmann::json add(span<const double> v) { return put("f64", v.data(), v.size(), 8); }
    // Counts in the narrowest of u8, u16, u32, f64 that holds them all (f64 is exact up to 2^53).
    nlohmann::json add_counts(span<const uint64_t> v);

    // The bytes, with `document` in front. Text that is not UTF-8 gets replacement characters.
    std::string finish(nlohmann::json document, bool compress) const;

private:
    nlohmann::json put(const char * type, const void * data, size_t n, size_t width);

    nlohmann::json list_ = nlohmann::json::array();
    std::string    bytes_;
};

}  // namespace moescope::report
