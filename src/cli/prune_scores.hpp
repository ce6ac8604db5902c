#pragma once

#include <string>

#include "gguf/expert_scores.hpp"

namespace moescope::cli {

// Scores from any file that `prune --stats` takes: a .moestats (exact sums), an expert_stats.json, or an imatrix.
// Throws error, or usage_error where the file cannot support the criterion.
expert_scores load_scores(const std::string & path, prune_criterion criterion);

}  // namespace moescope::cli
