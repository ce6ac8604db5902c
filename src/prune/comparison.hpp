#pragma once

#include <map>
#include <string>
#include <vector>

#include "gguf/model_file.hpp"
#include "prune/plan.hpp"
#include "prune/profile_scores.hpp"

namespace moescope::prune {

// What a profile says of a plan, whoever made it.
struct plan_measures {
    double removal = -1;  // share of all experts' removal errors that those removed have; -1: not known
    double hope    = -1;  // the objective of HOPE (hope.hpp), summed over layers; -1: not known
};

// Share of a label's selections whose expert is removed. The tokens then take the next best.
struct displaced_share {
    std::string label;  // empty: all rows
    double      share = 0;
};

// A plan for as many experts by another criterion.
struct rival_plan {
    prune_criterion              criterion;
    uint32_t                     n_other = 0;  // experts, over all layers, that it keeps and the plan removes
    plan_measures                measures;
    std::vector<displaced_share> displaced;
};

plan_measures measure_plan(const stats::moestats & profile, const prune_plan & plan);

// By every criterion that the profile supports but the plan's own, under the same balance and protection.
std::vector<rival_plan> rival_plans(const gguf::model_file & model, const stats::moestats & profile,
                                    const prune_request & request, const score_request & scores,
                                    const prune_plan & plan);

// Of all rows first, then of each label.
std::vector<displaced_share> displaced_shares(const stats::moestats & profile, const prune_plan & plan);

// Of all rows, by layer.
std::map<int, double> displaced_by_layer(const stats::moestats & profile, const prune_plan & plan);

}  // namespace moescope::prune
