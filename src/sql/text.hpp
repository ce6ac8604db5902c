#pragma once

#include <string>
#include <vector>

namespace moescope::sql {

// The text with bytes that are no UTF-8 replaced by U+FFFD: DuckDB takes nothing else.
std::string valid_utf8(const std::string & text);

std::string quoted(const std::string & text, char quote);  // it's -> 'it''s'

// The statements of a script, each without its semicolon; a semicolon in quotes or comments ends none. `rest` gets what
// follows the last semicolon, where it is more than blanks and comments.
std::vector<std::string> split_statements(const std::string & script, std::string & rest);

}  // namespace moescope::sql
