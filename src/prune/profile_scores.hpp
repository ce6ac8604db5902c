#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/expert_mask.hpp"
#include "gguf/moe_shape.hpp"
#include "prune/expert_ids.hpp"
#include "prune/scores.hpp"
#include "stats/moestats.hpp"

namespace moescope::prune {

// What scores are asked of a profile.
struct score_request {
    prune_criterion criterion = prune_criterion::removal;
    label_balance   balance   = label_balance::rows;
    // What `hope` must know beforehand, since it chooses experts together.
    gguf::moe_shape     shape   = {};
    uint32_t            n_keep  = 0;
    expert_ids_by_layer protect = {};
};

// How labels count where nobody says: each the same for removal if the profile has labels, else by their rows.
label_balance default_balance(const stats::moestats & profile, prune_criterion criterion);

// Scores of the routed experts of every layer. Experts that were masked while the profile was made have none: they go first.
// Throws usage_error, naming the file (`source`) and what to do, where the profile lacks what the criterion needs.
expert_scores scores_of_profile(const stats::moestats & profile, const std::string & source, const score_request & r);

// Under which mask the profile was made; empty: under none.
expert_mask mask_of(const stats::moestats & profile);

// Why the profile does not support the criterion; empty: it does.
std::string lacks(const stats::moestats & profile, prune_criterion criterion);

// Experts whose outputs are extreme, "super experts" (arXiv:2507.23279, Eq. 5 and 6): whose largest element is above the
// 99.5th percentile of all experts' and above a tenth of the largest.
expert_ids_by_layer super_experts(const stats::moestats & profile, const std::string & source);

}  // namespace moescope::prune
