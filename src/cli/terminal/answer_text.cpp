// Answers as text for people: aligned, cut to the terminal's width, the units in the values.

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "cli/terminal/answer.hpp"
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

constexpr const char * nothing = "–";

std::string show_real(double x) {
    const double size = std::fabs(x);
    if (size != 0 && (size < 0.001 || size >= 1e7)) {
        return fmt::format("{:.2e}", x);
    }
    return fmt::format("{:.{}f}", x, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

}  // namespace

std::string show(const cell & c, shown as) {
    if (const auto * text = std::get_if<std::string>(&c)) {
        return printable(*text);
    }
    if (const auto * n = std::get_if<int64_t>(&c)) {
        if (as == shown::bytes) {
            return human_bytes(static_cast<uint64_t>(*n));
        }
        return *n < 0 ? std::to_string(*n) : with_commas(static_cast<uint64_t>(*n));
    }
    const auto * x = std::get_if<double>(&c);
    if (x == nullptr || std::isnan(*x)) {
        return nothing;
    }
    switch (as) {
        case shown::percent: return fmt::format("{:.{}f} %", 100 * *x, std::fabs(*x) < 0.001 && *x != 0 ? 3 : 2);
        case shown::ratio: return fmt::format("{:.2f}x", *x);
        case shown::bytes: return human_bytes(static_cast<uint64_t>(std::max(0.0, *x)));
        case shown::integer: return fmt::format("{:.1f}", *x);  // a mean of whole numbers
        default: return show_real(*x);
    }
}

namespace {

struct shown_column {
    size_t                   index;
    size_t                   width;
    bool                     left;
    std::vector<std::string> text;
};

// Columns that a text gets where not everything fits: as many as are left, within these bounds.
constexpr size_t short_text = 12, long_text = 40;

size_t total_width(const std::vector<shown_column> & columns) {
    size_t width = columns.empty() ? 0 : 2 * (columns.size() - 1);
    for (const shown_column & c : columns) {
        width += c.width;
    }
    return width;
}

// A long name (a mask, a label) must not push the figures off the screen, nor vanish itself.
void cut_long_text(shown_column & c, size_t room) {
    c.width = std::min(c.width, std::clamp(room, short_text, long_text));
    for (std::string & text : c.text) {
        if (display_width(text) > c.width) {
            text = cut_to_width(text, c.width - 1) + "…";
        }
    }
}

// The columns that have titles, as many as fit into `width`; counts those that do not.
std::vector<shown_column> fitting_columns(const table & t, size_t n_rows, size_t width, size_t & left_out) {
    std::vector<shown_column> all, columns;
    for (size_t i = 0; i < t.columns.size(); ++i) {
        const table_column & c = t.columns[i];
        if (c.title.empty()) {
            continue;
        }
        shown_column s{i, display_width(c.title), c.as == shown::text, {}};
        for (size_t r = 0; r < n_rows; ++r) {
            s.text.push_back(show(t.rows[r][i], c.as));
            s.width = std::max(s.width, display_width(s.text.back()));
        }
        all.push_back(std::move(s));
    }
    const bool too_wide = total_width(all) > width;
    size_t     used     = 0;
    for (shown_column & s : all) {
        const size_t gap = columns.empty() ? 0 : 2;
        if (too_wide && s.left) {
            cut_long_text(s, width > used + gap ? width - used - gap : 0);
        }
        if (!columns.empty() && used + gap + s.width > width) {
            left_out += 1;
            continue;
        }
        used += gap + s.width;
        columns.push_back(std::move(s));
    }
    return columns;
}

}  // namespace

std::string table_text(const table & t, int width, bool full) {
    const size_t                    n_rows   = full ? t.rows.size() : std::min(t.rows.size(), t.n_shown);
    size_t                          left_out = 0;
    const std::vector<shown_column> columns  = fitting_columns(t, n_rows, static_cast<size_t>(width), left_out);
    std::string                     out = t.title.empty() ? "" : wrapped(t.title, static_cast<size_t>(width), "  ");
    const auto                      add_line = [&](auto && text_of) {
        std::string line;
        for (const shown_column & c : columns) {
            line += (line.empty() && &c == &columns.front() ? "" : "  ") + pad(text_of(c), c.width, c.left);
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + '\n';
    };
    add_line([&](const shown_column & c) { return t.columns[c.index].title; });
    for (size_t r = 0; r < n_rows; ++r) {
        add_line([&](const shown_column & c) { return c.text[r]; });
    }
    if (n_rows < t.rows.size() || left_out > 0) {
        out += fmt::format("… {}{}{}\n",
                           n_rows < t.rows.size() ? with_commas(t.rows.size() - n_rows) + " more rows (--full)" : "",
                           n_rows < t.rows.size() && left_out ? ", " : "",
                           left_out ? fmt::format("{} more column{} (--csv, --json, or a wider terminal)", left_out,
                                                  left_out == 1 ? "" : "s")
                                    : "");
    }
    return out;
}

std::string answer_text(const answer & a, int width, bool full) {
    std::string out;
    for (const std::string & line : a.headline) {
        out += wrapped(line, static_cast<size_t>(width), "  ");
    }
    for (const table & t : a.tables) {
        if (t.rows.empty() || (t.n_shown == 0 && !full)) {
            continue;
        }
        out += (out.empty() ? "" : "\n") + table_text(t, width, full);
    }
    if (!a.notes.empty()) {
        out += '\n';
    }
    for (const std::string & line : a.notes) {
        out += wrapped("note: " + line, static_cast<size_t>(width), "  ");
    }
    return out;
}

}  // namespace moescope::cli
