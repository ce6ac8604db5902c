#pragma once

#include <string>
#include <vector>

#include "analysis/summary.hpp"

namespace moescope::cli {

// What stands out, at most three sentences that name the analysis where each is seen; none where nothing does.
std::vector<std::string> finding_sentences(const analysis::summary_result & s);

}  // namespace moescope::cli
