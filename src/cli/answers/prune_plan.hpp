#pragma once

// What `prune` says of a plan.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/expert_mask.hpp"
#include "evaluate/damage_sums.hpp"
#include "prune/comparison.hpp"

namespace moescope::cli {

// What else is known of a plan; lists are empty without a profile.
struct plan_review {
    std::string                         criterion;  // "removal, balance labels"
    std::string                         evaluate;   // the command that measures it
    prune::plan_measures                measures;
    std::vector<prune::displaced_share> displaced;
    std::map<int, double>               displaced_by_layer;
    std::vector<prune::rival_plan>      rivals;
    expert_mask                         mask;  // under which the profile was made
};

std::string            plan_text(const prune::prune_plan & plan, const plan_review & more);
nlohmann::ordered_json plan_json(const prune::prune_plan & plan, const plan_review & more);

// What a plan costs on held-out text, in nats per token.
struct plan_cost {
    evaluate::estimate delta_nll, kl;
    std::string        worst_label;  // "" without labels
    double             worst_nll = 0;
};

// One size of `prune --sweep`; measures and shares are there where the statistics are a profile, the cost if it was measured.
struct swept_plan {
    prune::prune_plan                   plan;
    prune::plan_measures                measures;
    std::vector<prune::displaced_share> displaced;
    std::optional<plan_cost>            cost;
};

struct sweep_review {
    std::string criterion, evaluate;  // as in plan_review
    bool        budget      = false;  // whether there is one
    uint32_t    recommended = 0;      // fewest experts within it; 0: none of the plans is
};

std::string            sweep_text(const std::vector<swept_plan> & swept, const sweep_review & more);
nlohmann::ordered_json sweep_json(const std::vector<swept_plan> & swept, const sweep_review & more);

// "12.3 %" of a share, "–" where it is not known (-1); or the value itself.
std::string measure_text(double value, bool as_percent);

// "displaced selections: 12.3 % (code 10.1 %, prose 14.0 %)", a line; "" without a profile.
std::string displaced_text(const plan_review & more);

}  // namespace moescope::cli
