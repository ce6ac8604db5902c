#pragma once

#include <cstddef>
#include <string_view>

namespace moescope::io {

// How deep the arrays and objects of a JSON text lie in one another. Copying or printing a parsed document takes a call for each
// level, so of what strangers wrote this is asked first: a million brackets would end the program.
size_t json_depth(std::string_view text);

inline constexpr size_t deepest_json = 128;

}  // namespace moescope::io
