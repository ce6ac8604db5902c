#include "logs/engines/base64.hpp"

#include "core/error.hpp"

namespace moescope::logs {

std::vector<uint8_t> from_base64(const std::string & text, const std::string & what) {
    static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::vector<uint8_t>     bytes;
    uint32_t                 bits = 0;
    int                      n    = 0;
    for (const char c : text.substr(0, text.find('='))) {
        const size_t digit = digits.find(c);
        if (digit == std::string::npos) {
            throw error(what + " is no base64");
        }
        bits = bits << 6 | static_cast<uint32_t>(digit);
        n += 6;
        if (n >= 8) {
            n -= 8;
            bytes.push_back(static_cast<uint8_t>(bits >> n));
        }
    }
    return bytes;
}

}  // namespace moescope::logs
