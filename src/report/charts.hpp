#pragma once

#include <string>
#include <vector>

#include "report/page_data.hpp"

namespace moescope::report {

struct chart {
    std::string name;      // "expert_frequency"
    std::string svg, png;  // the finished files
};

// The standard charts of a run, fit for a paper (two columns wide, 300 dpi, perceptual colours):
//   expert_frequency   how often each expert is selected, one panel per layer, with the balanced value as a line
//   expert_heatmap     one layer's experts along the tokens, by gate weight; left out where no tokens are known
//   layers_experts     share of each expert in each layer
// layer: il of the heatmap; -1: the middle one of the MoE layers. Throws error where the run has no such layer.
std::vector<chart> draw_charts(const page_run & run, int32_t layer);

}  // namespace moescope::report
