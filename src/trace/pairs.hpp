#pragma once

// Values of a chunk's pairs.

#include <charconv>
#include <string>

#include "trace/format.hpp"

namespace moescope::trace {

// A number in a pair; absent or odd: 0, which means unknown.
template <class T>
T number(const std::string & text) {
    T v{};
    std::from_chars(text.data(), text.data() + text.size(), v);
    return v;
}

// The text of a key, empty where there is none.
inline const std::string & find(const text_pairs & pairs, const char * key) {
    static const std::string none;
    for (const auto & [k, v] : pairs) {
        if (k == key) {
            return v;
        }
    }
    return none;
}

}  // namespace moescope::trace
