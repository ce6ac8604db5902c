#pragma once

#include <string>
#include <vector>

namespace moescope::prune {

// What decides which experts stay, under the literature's names; docs/prune.md defines each and says where it is from. All
// but `hope` score experts one by one.
enum class prune_criterion {
    removal,
    reap,
    man,
    msan,
    reap_sum,
    ean_sum,
    seer,
    easy_ep,
    hope,
    frequency,
    gate,
    weighted_frequency,
    random,
    ids,
};

const char *    criterion_name(prune_criterion criterion);  // "weighted-frequency"
prune_criterion parse_criterion(const std::string & name);  // "ean" is man; throws usage_error that lists the names

// Those that follow from a profile, the default first.
std::vector<prune_criterion> criteria_of_profiles();

// How much each label of a profile counts.
enum class label_balance {
    rows,    // each row the same
    labels,  // each label the same: scores are normalised per label and layer, then added
    worst,   // what hurts the worst-off label least goes first
};

label_balance parse_balance(const std::string & name);  // "rows", "labels", "worst"; throws usage_error
const char *  balance_name(label_balance b);

}  // namespace moescope::prune
