#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/expert_mask.hpp"
#include "core/layer_filter.hpp"
#include "stats/moestats.hpp"

namespace moescope::evaluate {

// What made a plan.
enum class plan_kind {
    mask,       // the user's own: --omit, --only, --router-bias
    keep_ids,   // a file of the ids to keep
    criterion,  // the best by scores, or drawn at random
    expert,     // one expert alone is omitted (--each)
    against,    // another model file
};
const char * to_string(plan_kind k);                     // "mask", "keep_ids", …
plan_kind    parse_plan_kind(const std::string & text);  // throws error

// A change whose damage is measured.
struct plan {
    plan_kind   kind = plan_kind::mask;
    std::string name;                     // for people: "reap, 24 kept"
    std::string criterion;                // of kind criterion
    int32_t     n_keep = -1;              // experts left in each layer; -1: not the same everywhere, or not said
    int32_t     layer = -1, expert = -1;  // of kind expert
    expert_mask mask;                     // empty for against
    double      omitted_share = 0;  // of the routers' experts, mean over layers: what random selections would lose
};

// What is asked for.
struct plan_request {
    std::string              model;     // its GGUF
    expert_mask              mask;      // a plan, unless it is empty
    std::vector<std::string> keep_ids;  // files, a plan each
    std::string              stats;
    std::shared_ptr<const moescope::stats::moestats>
                             sums;      // of `stats`, where the caller has read them; else it is read as scores
    std::vector<std::string> criteria;  // each with each of keep
    std::string              balance;   // of the criteria; "": as prune does
    std::vector<uint32_t>    keep;
    uint64_t                 seed = 0;  // of the criterion random
    bool                     each = false;
    std::string              layers;  // of each
    std::string              against;
};

// In the order of the request. Throws usage_error where there is none, where experts or layers are not there or too few are
// left, and where parts do not go together; error where a file cannot be read or prune would refuse.
std::vector<plan> make_plans(const plan_request & r);

}  // namespace moescope::evaluate
