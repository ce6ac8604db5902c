#pragma once

// Text for people: numbers with their units, plurals, and whatever came from outside made safe to print.

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace moescope::cli {

std::string with_commas(uint64_t n);         // 1,234,567
std::string human_bytes(uint64_t n);         // 4.20 MiB
std::string human_duration(double seconds);  // 1 h 02 min, 3.1 s, 42 ms

// "1 token", "1,234 tokens"
std::string counted(uint64_t n, const std::string & what);

// "512", "64K", "1.5G" -> bytes (binary multiples). Throws usage_error naming the option.
uint64_t parse_bytes(const std::string & text, const std::string & option);

// Columns of a terminal that a text takes: code points, which is right for all we print ourselves.
size_t      display_width(const std::string & text);
std::string pad(const std::string & text, size_t width, bool left);  // with blanks behind it (left) or before it

// Untrusted text (token pieces, names) made safe for a terminal: control characters and invalid UTF-8 escaped.
std::string printable(const std::string & text);
std::string printable_lines(const std::string & text);  // the same, with its newlines

std::string cut_to_width(const std::string & text, size_t width);
// A text broken between words so that no line is longer than width (where no word is); lines after the first begin with
// indent. Ends with a newline.
std::string wrapped(const std::string & text, size_t width, const std::string & indent);

// A document as --json prints it: indented, invalid UTF-8 replaced, a newline at its end.
std::string to_text(const nlohmann::json & j);
std::string to_text(const nlohmann::ordered_json & j);

}  // namespace moescope::cli
