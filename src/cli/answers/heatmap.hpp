#pragma once

#include <string>

#include "analysis/frequency.hpp"

namespace moescope::cli {

// Layers × experts as text, one line per MoE block and one cell per expert (or per few neighbours, when the width does not
// hold them all: then the cell shows the largest). A cell is the expert's share against the balanced one, 1/E.
// color: 256-colour backgrounds, else block characters. Ends with a legend; empty for an empty result.
std::string heatmap_text(const analysis::frequency_result & r, int width, bool color);

}  // namespace moescope::cli
