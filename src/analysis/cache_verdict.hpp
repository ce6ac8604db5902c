#pragma once

// What the figures of simulated caches decide.

#include <cstdint>
#include <vector>

#include "analysis/cache.hpp"

namespace moescope::analysis {

// The policies that can be built (all but Belady's), best first, with one number of slots.
struct policy_ranking {
    std::vector<const cache_score *> scores;  // in the result that was ranked
    std::vector<interval>            lead;    // of the first above scores[i], in hit rate; 95 % for all at once

    bool first_is_sure() const {  // it surely beats every other
        bool sure = lead.size() > 1;
        for (size_t i = 1; i < lead.size(); ++i) {
            sure = sure && lead[i].low > 0;
        }
        return sure;
    }
};
policy_ranking rank_policies(const cache_result & r, uint32_t slots);

// Whether some experts are hot for good: what a list of the hottest, learned on one half, holds of the other half's reads.
struct static_skew {
    double   hit_rate = unknown;
    interval range;
    double   chance = unknown;  // of as many experts drawn at random
    double   lru    = unknown;  // the hit rate of the policy that learns nothing
    interval lead;              // of the list above LRU; 95 %

    bool is_there() const { return range.low > chance; }
    bool is_best() const { return lead.low > 0; }
};
static_skew skew_of(const cache_result & r, uint32_t slots, uint32_t n_expert);

}  // namespace moescope::analysis
