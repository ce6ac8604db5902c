#pragma once

#include <string>
#include <vector>

#include "cli/terminal/answer.hpp"
#include "stats/moestats.hpp"

namespace moescope::cli {

// `stats` of a profile (.moestats or expert_stats.json): which experts weigh most, and which labels lean on which.
answer answer_profile(const std::string & path, size_t top);

// `analyze specialization` of profiles: each label is a domain, a profile without labels is one. The distance by chance is that
// of as many rows of one routing.
answer answer_profile_domains(const std::vector<std::string> & paths, size_t top);

// `analyze compare` of two profiles, layer by layer: selections, and which experts REAP would keep.
answer answer_profile_compare(const std::string & first, const std::string & second);

}  // namespace moescope::cli
