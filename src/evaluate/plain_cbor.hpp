#pragma once

#include <string_view>

namespace moescope::evaluate {

// Whether the bytes are one CBOR item (RFC 8949) of the kind that .moeval files are written of: lengths are given in front and fit,
// nothing is tagged, and arrays and maps lie less than 16 deep. nlohmann's reader calls itself for every level, also of strings in
// pieces, so it is only given what passes here.
bool is_plain_cbor(std::string_view bytes);

}  // namespace moescope::evaluate
