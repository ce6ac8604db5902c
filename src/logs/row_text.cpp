#include "logs/row_text.hpp"

#include <charconv>
#include <cmath>

namespace moescope::logs {

namespace {

// The longest that to_chars makes here: the largest double in fixed notation has 309 digits before the point.
constexpr size_t longest_number = 400;

const char * not_finite(double value) {
    return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
}

}  // namespace

void append_int(std::string & out, int64_t value) {
    char       text[24];
    const auto r = std::to_chars(text, text + sizeof(text), value);
    out.append(text, r.ptr);
}

void append_shortest(std::string & out, float value) {
    if (!std::isfinite(value)) {
        out += not_finite(value);
        return;
    }
    char       text[longest_number];
    const auto r = std::to_chars(text, text + sizeof(text), value);
    out.append(text, r.ptr);
}

void append_fixed(std::string & out, double value, int decimals) {
    if (!std::isfinite(value)) {
        out += not_finite(value);
        return;
    }
    char       text[longest_number];
    const auto r = std::to_chars(text, text + sizeof(text), value, std::chars_format::fixed, decimals);
    out.append(text, r.ptr);
}

}  // namespace moescope::logs
