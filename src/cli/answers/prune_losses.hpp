#pragma once

// What a plan takes from each label of a profile: how `prune --dry-run` opens, and what `prune` warns of.

#include <string>
#include <vector>

#include "cli/answers/prune_plan.hpp"
#include "stats/moestats.hpp"

namespace moescope::cli {

// A table: by the plan's criterion and by each of the others, the share of each label's selections whose expert goes, what
// random experts would take, and the measures of comparison.hpp. "" without a profile.
std::string losses_table(const prune::prune_plan & plan, const plan_review & more);

// Sentences: a label that loses more than random experts would take, and, of each label, the expert that goes although the
// label leans on it: selected at least twice as often as its fair share k / E, and more often than random routing leads to
// in one of 100 profiles.
std::vector<std::string> loss_warnings(const stats::moestats & profile, const prune::prune_plan & plan,
                                       const std::vector<prune::displaced_share> & displaced);

}  // namespace moescope::cli
