#pragma once

#include <string>

#include "analysis/frequency.hpp"

namespace moescope::cli {

// Where a heatmap is drawn, in columns and lines of a terminal.
struct heatmap_place {
    int  width  = 100;
    int  height = 0;  // heading and legend included; 0: as many lines as it takes
    bool color  = false;
};

// Layers x experts as characters: how often each expert is selected against a balanced share (1/E). With colour, a line
// holds two layers, as half blocks. Cells are shared by several experts, and by several layers, where there is no room
// for all; they show the largest.
std::string heatmap_text(const analysis::frequency_result & r, const heatmap_place & place);

}  // namespace moescope::cli
