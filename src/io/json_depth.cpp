#include "io/json_depth.hpp"

#include <algorithm>

namespace moescope::io {

size_t json_depth(std::string_view text) {
    size_t depth = 0, deepest = 0;
    bool   in_string = false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            in_string = c != '"';
            i += c == '\\';  // and what it escapes
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            deepest = std::max(deepest, ++depth);
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth -= 1;
        }
    }
    return deepest;
}

}  // namespace moescope::io
