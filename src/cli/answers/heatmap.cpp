#include "cli/answers/heatmap.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "cli/answers/shared.hpp"  // block_name
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

// Share against 1/E at which a cell takes the next step. 0 is a step of its own: an expert that is never selected.
constexpr std::array<double, 6> steps = {0.0, 0.25, 0.75, 1.5, 3.0, 6.0};

constexpr std::array<const char *, 7> shades = {"×", " ", "·", "░", "▒", "▓", "█"};
constexpr std::array<const char *, 7> names  = {"never", "≤0.25", "≤0.75", "≤1.5", "≤3", "≤6", ">6"};
// Of the 256-colour palette, dark blue over green to yellow; grey for never.
constexpr std::array<int, 7> colors = {240, 17, 18, 24, 36, 113, 226};

constexpr int no_expert = -1;  // of a cell: the layer has fewer experts

struct heatmap_row {
    std::string      name;   // of its first layer
    std::vector<int> steps;  // by cell; no_expert
};

int step_of(double vs_balance) {
    return static_cast<int>(std::count_if(steps.begin(), steps.end(), [&](double s) { return vs_balance > s; }));
}

// Several layers and experts in a cell: the largest.
std::vector<heatmap_row> rows_of(const analysis::frequency_result & r, uint32_t per_cell, size_t per_row) {
    std::vector<heatmap_row> rows;
    for (size_t i = 0; i < r.blocks.size(); ++i) {
        const auto & b = r.blocks[i];
        if (i % per_row == 0) {
            rows.push_back({block_name(b.layout), {}});
        }
        std::vector<int> & row = rows.back().steps;
        row.resize(std::max<size_t>(row.size(), (b.layout.n_expert + per_cell - 1) / per_cell), no_expert);
        for (uint32_t e = 0; e < b.layout.n_expert; ++e) {
            const double vs_balance = b.measured.selections > 0 ? b.share(e) * b.layout.n_expert : 0;
            row[e / per_cell]       = std::max(row[e / per_cell], step_of(vs_balance));
        }
    }
    return rows;
}

std::string half_blocks(int upper, int lower) {
    if (upper == no_expert && lower == no_expert) {
        return " ";
    }
    if (upper == no_expert) {
        return fmt::format("\033[38;5;{}m▄\033[0m", colors[static_cast<size_t>(lower)]);
    }
    const std::string below = lower == no_expert ? "" : fmt::format(";48;5;{}", colors[static_cast<size_t>(lower)]);
    return fmt::format("\033[38;5;{}{}m▀\033[0m", colors[static_cast<size_t>(upper)], below);
}

std::string line_of(const heatmap_row & upper, const heatmap_row * lower, bool color) {
    std::string  line = fmt::format("{:>5}  ", upper.name);
    const size_t n    = std::max(upper.steps.size(), lower != nullptr ? lower->steps.size() : 0);
    const auto   at   = [](const heatmap_row * row, size_t c) {
        return row != nullptr && c < row->steps.size() ? row->steps[c] : no_expert;
    };
    for (size_t c = 0; c < n; ++c) {
        const int step = at(&upper, c);
        line += color ? half_blocks(step, at(lower, c)) : step == no_expert ? " " : shades[static_cast<size_t>(step)];
    }
    return line + '\n';
}

// Broken between its entries; colour codes take no room.
std::string legend(const heatmap_place & place, uint32_t per_cell, size_t per_row) {
    std::string out, line = "       ";
    size_t      used = line.size();
    const auto  add  = [&](const std::string & shown, size_t columns) {
        if (used + columns > static_cast<size_t>(place.width)) {
            out += line + '\n';
            line = "       ";
            used = line.size();
        }
        line += shown;
        used += columns;
    };
    for (size_t s = 0; s < names.size(); ++s) {
        const std::string cell = place.color ? fmt::format("\033[48;5;{}m \033[0m", colors[s]) : shades[s];
        add(fmt::format("{} {}  ", cell, names[s]), 4 + display_width(names[s]));
    }
    std::string unit = "times 1/E";
    if (per_cell > 1 || per_row > 1) {
        unit += "; a cell: the largest of";
        unit += per_cell > 1 ? fmt::format(" {} experts", per_cell) : "";
        unit += per_row > 1 ? fmt::format(" {} layers", per_row) : "";
    }
    add(unit, unit.size());
    return out + line + '\n';
}

}  // namespace

std::string heatmap_text(const analysis::frequency_result & r, const heatmap_place & place) {
    uint32_t most = 0;
    for (const auto & b : r.blocks) {
        most = std::max(most, b.layout.n_expert);
    }
    if (most == 0) {
        return {};
    }
    const auto     cells    = static_cast<uint32_t>(std::max(8, place.width - 8));
    const uint32_t per_cell = (most + cells - 1) / cells;
    const size_t   in_line  = place.color ? 2 : 1;
    size_t         per_row  = 1;
    if (place.height > 0) {
        constexpr int heading_and_legend = 4, fewest = 4;
        const size_t  room = in_line * static_cast<size_t>(std::max(fewest, place.height - heading_and_legend));
        per_row            = (r.blocks.size() + room - 1) / room;
    }
    const std::vector<heatmap_row> rows = rows_of(r, per_cell, per_row);

    std::string out = fmt::format("layer  experts 0 to {}\n", most - 1);
    for (size_t i = 0; i < rows.size(); i += in_line) {
        out += line_of(rows[i], in_line == 2 && i + 1 < rows.size() ? &rows[i + 1] : nullptr, place.color);
    }
    return out + legend(place, per_cell, per_row);
}

}  // namespace moescope::cli
