#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moescope::logs {

// RFC 4648, with or without padding. Throws error naming `what`.
std::vector<uint8_t> from_base64(const std::string & text, const std::string & what);

}  // namespace moescope::logs
