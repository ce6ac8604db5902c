#pragma once

// Routed rows as text, for the logs that a program writes while it runs. Needs no formatting library: the injected
// recorder links none.

#include <cstdint>
#include <string>

#include "core/routing.hpp"

namespace moescope::logs {

void append_int(std::string & out, int64_t value);
// The shortest decimal that reads back as the same float: "0.245", "1e-07"; "nan", "inf", "-inf".
void append_shortest(std::string & out, float value);
// With `decimals` digits behind the point, correctly rounded; "nan", "inf", "-inf".
void append_fixed(std::string & out, double value, int decimals);

// Position in its sequence of the token that row r belongs to; -1 where it is not known.
inline int32_t position_of(const routed_ubatch & u, const block_rows & b, uint32_t r) {
    const int32_t t = b.token_of(r);
    return t < 0 ? -1 : u.pos[static_cast<size_t>(t)];
}

// "[a b c]" or "[a, b, c]": n values that `append(i)` writes. More than max_values (0: no limit) end in "...".
template <class F>
void append_list(std::string & out, size_t n, const char * separator, size_t max_values, F && append) {
    const size_t shown = max_values == 0 || n < max_values ? n : max_values;
    out += '[';
    for (size_t i = 0; i < shown; ++i) {
        if (i > 0) {
            out += separator;
        }
        append(i);
    }
    if (shown < n) {
        out += separator;
        out += "...";
    }
    out += ']';
}

}  // namespace moescope::logs
