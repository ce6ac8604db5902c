#include "capture/node_name.hpp"

namespace moescope::capture {

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// "CUDA0#name#0" -> "name"
std::string_view without_device(std::string_view name) {
    const size_t first = name.find('#');
    const size_t last  = name.rfind('#');
    if (first == std::string_view::npos || first == last) {
        return name;
    }
    for (const char c : name.substr(last + 1)) {
        if (!is_digit(c)) {
            return name;
        }
    }
    return name.substr(first + 1, last - first - 1);
}

}  // namespace

node_name::node_name(std::string_view name) : base(without_device(name)) {
    size_t at = base.size();
    while (at > 0 && is_digit(base[at - 1])) {
        --at;
    }
    const size_t n_digits = base.size() - at;
    if (n_digits == 0 || n_digits > 6 || at < 2 || base[at - 1] != '-') {
        return;
    }
    il = 0;
    for (const char c : base.substr(at)) {
        il = il * 10 + (c - '0');
    }
    base = base.substr(0, at - 1);
}

}  // namespace moescope::capture
