#include "analysis/cache_verdict.hpp"

#include <algorithm>

#include "analysis/tools/bootstrap.hpp"

namespace moescope::analysis {

policy_ranking rank_policies(const cache_result & r, uint32_t slots) {
    policy_ranking                   ranking;
    std::vector<std::vector<double>> hits;
    for (const cache_score & s : r.scores) {
        if (s.slots == slots && s.policy != cache_policy::optimum) {
            ranking.scores.push_back(&s);
        }
    }
    std::stable_sort(ranking.scores.begin(), ranking.scores.end(),
                     [](auto * a, auto * b) { return a->hits > b->hits; });
    for (const cache_score * s : ranking.scores) {
        hits.push_back(s->unit_hits);
    }
    if (!hits.empty()) {
        ranking.lead = bootstrap_lead(hits, ranking.scores[0]->unit_warm, 0);
    }
    return ranking;
}

static_skew skew_of(const cache_result & r, uint32_t slots, uint32_t n_expert) {
    const auto score = [&](cache_policy policy) {
        return std::find_if(r.scores.begin(), r.scores.end(),
                            [&](const cache_score & s) { return s.slots == slots && s.policy == policy; });
    };
    const auto  list = score(cache_policy::fixed), lru = score(cache_policy::lru);
    static_skew skew;
    if (list == r.scores.end() || lru == r.scores.end()) {
        return skew;
    }
    skew.hit_rate = list->hit_rate();
    skew.range    = list->hit_rate_interval();
    skew.chance   = r.chance(slots, n_expert);
    skew.lru      = lru->hit_rate();
    skew.lead     = bootstrap_lead({list->unit_hits, lru->unit_hits}, list->unit_warm, 0)[1];
    return skew;
}

}  // namespace moescope::analysis
