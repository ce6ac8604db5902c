#include "cli/terminal/text.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace moescope::cli {

std::string with_commas(uint64_t n) {
    std::string digits = std::to_string(n);
    for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) {
        digits.insert(static_cast<size_t>(at), ",");
    }
    return digits;
}

std::string human_bytes(uint64_t n) {
    static constexpr const char * units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double                        value   = static_cast<double>(n);
    size_t                        unit    = 0;
    while (value >= 1024 && unit + 1 < std::size(units)) {
        value /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{} B", n) : fmt::format("{:.2f} {}", value, units[unit]);
}

std::string human_duration(double seconds) {
    if (seconds < 1) {
        return fmt::format("{:.0f} ms", seconds * 1e3);
    }
    if (seconds < 60) {
        return fmt::format("{:.1f} s", seconds);
    }
    const auto minutes = static_cast<uint64_t>(seconds / 60);
    if (minutes < 60) {
        return fmt::format("{} min {:02.0f} s", minutes, std::floor(seconds - 60.0 * double(minutes)));
    }
    return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
}

std::string counted(uint64_t n, const std::string & what) {
    return with_commas(n) + " " + what + (n == 1 ? "" : "s");
}

size_t display_width(const std::string & text) {
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string pad(const std::string & text, size_t width, bool left) {
    const size_t      have = display_width(text);
    const std::string gap(width > have ? width - have : 0, ' ');
    return left ? text + gap : gap + text;
}

uint64_t parse_bytes(const std::string & text, const std::string & option) {
    char *            rest   = nullptr;
    const double      value  = std::strtod(text.c_str(), &rest);
    const std::string suffix = rest;
    int               shift  = -1;
    if (suffix.empty() || suffix == "B") {
        shift = 0;
    } else if (suffix.size() == 1 || suffix.substr(1) == "iB" || suffix.substr(1) == "B") {
        const size_t at = std::string("KMGT").find(static_cast<char>(std::toupper(suffix[0])));
        shift           = at == std::string::npos ? -1 : static_cast<int>(10 * (at + 1));
    }
    if (rest == text.c_str() || shift < 0 || !(value >= 0) || value > 1e15) {
        throw usage_error(option + " takes a size in bytes such as 512, 64K, 1.5G, not '" + text + "'");
    }
    return static_cast<uint64_t>(std::ldexp(value, shift));
}

std::string printable(const std::string & text) {
    std::string out;
    for (size_t i = 0; i < text.size();) {
        const auto   c  = static_cast<unsigned char>(text[i]);
        const size_t n  = c < 0x80                ? 1
                          : c >= 0xf0 && c < 0xf5 ? 4
                          : c >= 0xe0 && c < 0xf0 ? 3
                          : c >= 0xc2 && c < 0xe0 ? 2
                                                  : 0;
        bool         ok = n > 0 && i + n <= text.size();
        for (size_t j = 1; ok && j < n; ++j) {
            ok = (static_cast<unsigned char>(text[i + j]) & 0xc0) == 0x80;
        }
        const bool control = n == 1 && (c < 0x20 || c == 0x7f);
        const bool c1      = n == 2 && c == 0xc2 && ok && static_cast<unsigned char>(text[i + 1]) < 0xa0;
        if (ok && !control && !c1) {
            out += text.substr(i, n);
            i += n;
            continue;
        }
        out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : fmt::format("\\x{:02x}", c);
        i += 1;
    }
    return out;
}

std::string printable_lines(const std::string & text) {
    std::string out;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        out += printable(text.substr(begin, end - begin)) + (end < text.size() ? "\n" : "");
        begin = end + 1;
    }
    return out;
}

std::string cut_to_width(const std::string & text, size_t width) {
    size_t columns = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        if ((text[i] & 0xc0) != 0x80 && ++columns > width) {
            return text.substr(0, i);
        }
    }
    return text;
}

std::string wrapped(const std::string & text, size_t width, const std::string & indent) {
    std::string out, line;
    bool        empty = true;  // the line has no word yet
    for (size_t at = 0; at < text.size();) {
        const size_t      end  = std::min(text.find(' ', at), text.size());
        const std::string word = text.substr(at, end - at);
        if (!empty && display_width(line) + 1 + display_width(word) > width) {
            out += line + '\n';
            line = indent + word;
        } else {
            line += (empty ? "" : " ") + word;
        }
        empty = false;
        at    = end + 1;
    }
    return out + line + '\n';
}

std::string to_text(const nlohmann::json & j) {
    return j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string to_text(const nlohmann::ordered_json & j) {
    return j.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace moescope::cli
