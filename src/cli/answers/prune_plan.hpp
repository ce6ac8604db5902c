#pragma once

// What `prune` says of a plan.

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "prune/comparison.hpp"

namespace moescope::cli {

// What else is known of a plan; lists are empty without a profile.
struct plan_review {
    std::string                         criterion;  // "removal, balance labels"
    std::string                         evaluate;   // the command that measures it
    prune::plan_measures                measures;
    std::vector<prune::displaced_share> displaced;
    std::vector<prune::rival_plan>      rivals;
};

std::string            plan_text(const prune::prune_plan & plan, const plan_review & more);
nlohmann::ordered_json plan_json(const prune::prune_plan & plan, const plan_review & more);

// One size of `prune --sweep`; measures and shares are there where the statistics are a profile.
struct swept_plan {
    prune::prune_plan                   plan;
    prune::plan_measures                measures;
    std::vector<prune::displaced_share> displaced;
};

std::string            sweep_text(const std::vector<swept_plan> & swept, const std::string & criterion,
                                  const std::string & evaluate);
nlohmann::ordered_json sweep_json(const std::vector<swept_plan> & swept, const std::string & criterion,
                                  const std::string & evaluate);

// "displaced selections: 12.3 % (code 10.1 %, prose 14.0 %)", a line; "" without a profile.
std::string displaced_text(const plan_review & more);

}  // namespace moescope::cli
