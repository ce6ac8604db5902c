#pragma once

#include <string>

#include "gguf/model_file.hpp"
#include "prune/profile_scores.hpp"

namespace moescope::prune {

// Scores from any file that `prune --stats` takes: a .moestats (exact sums), an expert_stats.json, or an imatrix.
// Throws error, or usage_error where the file cannot support the criterion.
expert_scores load_scores(const std::string & path, const score_request & request);

// Why the scores of a profile (`path`: its name in the text) may say nothing about the experts of `model`: measured on
// another file, where expert 5 may be another expert, or on a part of the corpus. Empty when there is no doubt.
struct score_doubt {
    std::string text;
    bool        serious = false;  // else it is worth a note: names and shapes of all tensors agree
};
score_doubt doubt_about_scores(const stats::moestats & profile, const std::string & path,
                               const gguf::model_file & model);

}  // namespace moescope::prune
