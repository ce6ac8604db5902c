#pragma once

#include <vector>

#include "report/charts.hpp"
#include "report/page_data.hpp"

namespace moescope::report {

// Charts of an evaluation, as far as it has what they show:
//   damage_curves    KL against the experts kept, a line per criterion, a panel for the whole text and for each label
//   damage_experts   KL without one expert alone, layers by experts, with the same panels
std::vector<chart> draw_damage_charts(const page_damage & d);

}  // namespace moescope::report
