#include "cli/terminal/result_rows.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

using kind = sql::value::kind;

constexpr size_t rows_shown = 40;  // more than a screen has help nobody; --csv and --json have all
constexpr size_t cell_shown = 60;  // columns of the widest cell

bool is_finite(const sql::value & v) {
    return v.text != "nan" && v.text != "inf" && v.text != "-inf";
}

// ---- JSON and CSV --------------------------------------------------------------------------------------------------

std::string json_text(const std::string & text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string value_as_json(const sql::value & v) {
    switch (v.what) {
        case kind::null: return "null";
        case kind::text: return json_text(v.text);
        case kind::number: return is_finite(v) ? v.text : "null";
        default: return v.text;
    }
}

void print_json(sql::query_result & result, std::FILE * out) {
    std::vector<std::string> keys;
    for (const sql::result_column & c : result.columns()) {
        keys.push_back(json_text(c.name) + ":");
    }
    const char * separator = "[\n";
    for (std::vector<sql::value> row; result.next(row); separator = ",\n") {
        std::string line = separator;
        for (size_t c = 0; c < row.size(); ++c) {
            line += (c == 0 ? "{" : ",") + keys[c] + value_as_json(row[c]);
        }
        fmt::print(out, "{}}}", line);
    }
    fmt::print(out, "{}\n]\n", separator[0] == '[' ? "[" : "");
}

std::string csv_field(const sql::value & v) {
    if (v.what == kind::null) {
        return "";
    }
    if (!v.text.empty() && v.text.find_first_of(",\"\r\n") == std::string::npos) {
        return v.text;
    }
    std::string quoted = "\"";
    for (const char c : v.text) {
        quoted.append(c == '"' ? 2 : 1, c);
    }
    return quoted + '"';
}

void print_csv(sql::query_result & result, std::FILE * out) {
    std::string line;
    for (const sql::result_column & c : result.columns()) {
        line += (line.empty() ? "" : ",") + csv_field({kind::text, c.name});
    }
    fmt::print(out, "{}\n", line);
    for (std::vector<sql::value> row; result.next(row);) {
        line.clear();
        for (size_t c = 0; c < row.size(); ++c) {
            line += (c == 0 ? "" : ",") + csv_field(row[c]);
        }
        fmt::print(out, "{}\n", line);
    }
}

// ---- the box -------------------------------------------------------------------------------------------------------

// One column: its two headings, then its cells.
struct box_column {
    std::vector<std::string> cells;
    bool                     right = false;
    size_t                   width = 0;

    void add(std::string text) {
        if (display_width(text) > cell_shown) {
            size_t end = 0;
            for (size_t n = 0; n < cell_shown; ++end) {
                n += (text[end] & 0xc0) != 0x80;
            }
            text = text.substr(0, end - 1) + "…";
        }
        width = std::max(width, display_width(text));
        cells.push_back(std::move(text));
    }
};

// Leaves out columns in the middle until the rest fits; one of dots stands for them.
void fit(std::vector<box_column> & columns, size_t width) {
    const auto needed = [&] {
        size_t n = 1;
        for (const box_column & c : columns) {
            n += c.width + 3;
        }
        return n;
    };
    bool left_out = false;
    while (columns.size() > 3 && needed() > width) {
        const size_t middle = columns.size() / 2;
        if (!left_out) {
            for (std::string & cell : columns[middle].cells) {
                cell = "…";
            }
            columns[middle].width = 1;
            left_out              = true;
            continue;
        }
        const auto dots =
            std::find_if(columns.begin(), columns.end(), [](const box_column & c) { return c.cells[0] == "…"; });
        const auto at   = dots - columns.begin();
        const bool left = static_cast<size_t>(at) > columns.size() / 2;
        columns.erase(left ? dots - 1 : dots + 1);
    }
}

std::string rule(const std::vector<box_column> & columns, const char * left, const char * middle, const char * right) {
    std::string line;
    for (const box_column & c : columns) {
        line += line.empty() ? left : middle;
        for (size_t i = 0; i < c.width + 2; ++i) {
            line += "─";
        }
    }
    return line + right + "\n";
}

std::string box_line(const std::vector<box_column> & columns, size_t row) {
    std::string line;
    for (const box_column & c : columns) {
        line += "│ " + pad(c.cells[row], c.width, !c.right || row < 2) + " ";
    }
    return line + "│\n";
}

void print_box(sql::query_result & result, std::FILE * out) {
    std::vector<box_column> columns;
    for (const sql::result_column & c : result.columns()) {
        box_column & b = columns.emplace_back();
        b.right        = c.number;
        b.add(printable(c.name));
        b.add(c.type);
    }
    size_t                  n    = 0;
    bool                    more = false;
    std::vector<sql::value> row;
    while (!more && result.next(row)) {
        more = n == rows_shown;
        for (size_t c = 0; c < row.size() && !more; ++c) {
            columns[c].add(row[c].what == kind::null ? "NULL" : printable(row[c].text));
        }
        n += !more;
    }
    fit(columns, static_cast<size_t>(terminal_width(out)));
    std::string text =
        rule(columns, "┌", "┬", "┐") + box_line(columns, 0) + box_line(columns, 1) + rule(columns, "├", "┼", "┤");
    for (size_t r = 0; r < n; ++r) {
        text += box_line(columns, r + 2);
    }
    text += rule(columns, "└", "┴", "┘");
    fmt::print(out, "{}{}", text,
               more ? fmt::format("the first {} rows; --csv, --json and -o have all\n", rows_shown) : "");
}

}  // namespace

void print_rows(sql::query_result & result, rows_style style, std::FILE * out) {
    if (result.columns().empty()) {
        return;
    }
    switch (style) {
        case rows_style::csv: print_csv(result, out); break;
        case rows_style::json: print_json(result, out); break;
        case rows_style::box: print_box(result, out); break;
    }
}

}  // namespace moescope::cli
