#include "cli/answers/heatmap.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "cli/answers/shared.hpp"  // block_name

namespace moescope::cli {

namespace {

// Share against 1/E at which a cell takes the next step. 0 is a step of its own: an expert that is never selected.
constexpr std::array<double, 6> steps = {0.0, 0.25, 0.75, 1.5, 3.0, 6.0};

constexpr std::array<const char *, 7> blocks = {"×", " ", "·", "░", "▒", "▓", "█"};
// Of the 256-colour palette, dark blue over green to yellow; grey for never.
constexpr std::array<int, 7> colors = {240, 17, 18, 24, 36, 113, 226};

size_t step_of(double vs_balance) {
    return static_cast<size_t>(std::count_if(steps.begin(), steps.end(), [&](double s) { return vs_balance > s; }));
}

std::string cell_text(size_t step, bool color) {
    return color ? fmt::format("\033[48;5;{}m \033[0m", colors[step]) : blocks[step];
}

std::string legend(bool color, uint32_t per_cell) {
    std::string                                  line  = "       ";
    static constexpr std::array<const char *, 7> names = {"never", "≤0.25", "≤0.75", "≤1.5", "≤3", "≤6", ">6"};
    for (size_t s = 0; s < names.size(); ++s) {
        line += cell_text(s, color) + " " + names[s] + "  ";
    }
    line += "times 1/E";
    return line + (per_cell > 1 ? fmt::format("; a cell shows the largest of {} experts", per_cell) : "") + '\n';
}

}  // namespace

std::string heatmap_text(const analysis::frequency_result & r, int width, bool color) {
    uint32_t most = 0;
    for (const auto & b : r.blocks) {
        most = std::max(most, b.layout.n_expert);
    }
    if (most == 0) {
        return {};
    }
    const auto     cells    = static_cast<uint32_t>(std::max(8, width - 8));
    const uint32_t per_cell = (most + cells - 1) / cells;
    std::string    out      = fmt::format("layer  experts 0 to {}\n", most - 1);
    for (const auto & b : r.blocks) {
        out += fmt::format("{:>5}  ", block_name(b.layout));
        for (uint32_t first = 0; first < b.layout.n_expert; first += per_cell) {
            double largest = 0;
            for (uint32_t e = first; e < std::min(first + per_cell, b.layout.n_expert); ++e) {
                largest = std::max(largest, b.measured.selections ? b.share(e) * b.layout.n_expert : 0);
            }
            out += cell_text(step_of(largest), color);
        }
        out += '\n';
    }
    return out + legend(color, per_cell);
}

}  // namespace moescope::cli
