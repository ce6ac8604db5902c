#include "analysis/cache.hpp"

#include <algorithm>

#include "analysis/tools/slices.hpp"

namespace moescope::analysis {

namespace {

constexpr uint64_t stretch = 64;  // ubatches: the unit of the interval where there are no two sequences

bool selects(const routed_ubatch & u) {
    return std::any_of(u.blocks.begin(), u.blocks.end(), [](const block_rows & r) { return r.n_rows > 0; });
}

}  // namespace

void cache_counts::ubatch(const routed_ubatch & u) {
    tracker_.follow(u);  // also where a filter left nothing: a sequence begins with its prompt
    if (!selects(u)) {
        return;
    }
    const size_t half = ubatches_ < half_at_ ? 0 : 1;
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        slices_read(u.blocks[i], ids_);
        block & b = blocks_.at(*u.blocks[i].layout, i);
        for (const uint32_t id : ids_) {
            b.count[half][id] += 1;
        }
        accesses_ += ids_.size();
    }
    ubatches_ += 1;
}

struct cache::simulation {
    // A pool's accesses in one half, for Belady's optimum.
    struct log {
        std::vector<uint32_t>                      slices;
        std::vector<std::pair<uint32_t, uint32_t>> units;  // first access, unit
    };

    cache_plan                                            plan;
    const cache_counts &                                  counted;
    cache_result                                          result;
    sequence_tracker                                      tracker;
    block_table<cache_counts::block>                      blocks;  // maps layouts to the numbers of `counted`
    std::vector<uint32_t>                                 base;    // [block] first slice in a global pool
    uint32_t                                              n_slices = 0;
    std::vector<std::vector<std::unique_ptr<cache_pool>>> pools;     // [online score][pool]
    std::vector<size_t>                                   online;    // scores that are simulated as it goes
    std::vector<uint8_t>                                  seen;      // [slice] in this half
    std::vector<std::vector<uint8_t>>                     log_cold;  // [pool] parallel to logs' slices
    std::vector<log>                                      logs;      // [pool]
    std::vector<uint32_t>                                 ids;
    std::vector<double>                                   bytes;  // [block]

    simulation(const cache_plan & p, const cache_counts & c) : plan(p), counted(c) {
        double sum = 0;
        for (size_t b = 0; b < c.blocks().size(); ++b) {
            const block_layout & l = c.blocks()[b].layout;
            blocks.at(l, b);
            base.push_back(n_slices);
            n_slices += l.n_expert;
            bytes.push_back(double(plan.sizes.of(l)));
            sum += bytes.back() * l.n_expert;
        }
        result.n_slices            = n_slices;
        result.units_are_sequences = c.n_sequences() > 1;
        result.units            = result.units_are_sequences ? c.n_sequences() : (c.ubatches() + stretch - 1) / stretch;
        result.mean_slice_bytes = n_slices ? sum / n_slices : 0;
        for (const uint32_t slots : plan.slots) {
            for (const cache_policy policy : {cache_policy::lru, cache_policy::lfu, cache_policy::fixed,
                                              cache_policy::random, cache_policy::optimum}) {
                if (policy == cache_policy::optimum && !plan.optimum) {
                    continue;
                }
                cache_score score;
                score.policy = policy;
                score.slots  = slots;
                score.unit_hits.resize(result.units);
                score.unit_warm.resize(result.units);
                if (policy != cache_policy::optimum) {
                    online.push_back(result.scores.size());
                }
                result.scores.push_back(std::move(score));
            }
        }
        start_half(0);
    }

    size_t   n_pools() const { return plan.global ? 1 : base.size(); }
    uint32_t pool_slots(uint32_t slots) const {
        return plan.global ? slots * static_cast<uint32_t>(base.size()) : slots;
    }

    std::vector<uint64_t> counts_of_pool(size_t pool, size_t half) const {
        if (!plan.global) {
            return counted.blocks()[pool].count[half];
        }
        std::vector<uint64_t> all;
        for (size_t b = 0; b < base.size(); ++b) {
            const auto & c = counted.blocks()[b].count[half];
            all.insert(all.end(), c.begin(), c.end());
        }
        return all;
    }

    void start_half(size_t half) {
        seen.assign(n_slices, 0);
        pools.clear();
        for (const size_t i : online) {
            const cache_score & score = result.scores[i];
            const uint32_t      slots = pool_slots(score.slots);
            auto &              set   = pools.emplace_back();
            for (size_t p = 0; p < n_pools(); ++p) {
                switch (score.policy) {
                    case cache_policy::lru: set.push_back(make_lru(slots)); break;
                    case cache_policy::lfu: set.push_back(make_lfu(slots)); break;
                    case cache_policy::fixed: set.push_back(make_fixed(slots, counts_of_pool(p, 1 - half))); break;
                    default: set.push_back(make_random(slots, p)); break;
                }
            }
        }
        logs.assign(n_pools(), {});
        log_cold.assign(n_pools(), {});
    }

    static void tell(cache_score & score, bool hit, bool cold, size_t unit, double slice_bytes) {
        score.accesses += 1;
        score.bytes_missed += hit ? 0 : slice_bytes;
        if (cold) {
            score.cold += 1;
            score.cold_hits += hit;
            return;
        }
        score.hits += hit;
        score.unit_hits[unit] += hit;
        score.unit_warm[unit] += 1;
    }

    void access(size_t block, uint32_t id, uint32_t unit) {
        const size_t   pool  = plan.global ? 0 : block;
        const uint32_t slice = plan.global ? base[block] + id : id;
        uint8_t &      known = seen[base[block] + id];
        const bool     cold  = known == 0;
        known                = 1;
        for (size_t i = 0; i < online.size(); ++i) {
            tell(result.scores[online[i]], pools[i][pool]->access(slice), cold, unit, bytes[block]);
        }
        if (plan.optimum) {
            log & l = logs[pool];
            if (l.units.empty() || l.units.back().second != unit) {
                l.units.emplace_back(static_cast<uint32_t>(l.slices.size()), unit);
            }
            l.slices.push_back(slice);
            log_cold[pool].push_back(cold);
        }
    }

    double bytes_of(size_t pool, uint32_t slice) const {
        if (!plan.global) {
            return bytes[pool];
        }
        return bytes[static_cast<size_t>(std::upper_bound(base.begin(), base.end(), slice) - base.begin()) - 1];
    }

    void end_half() {
        for (cache_score & score : result.scores) {
            for (size_t p = 0; score.policy == cache_policy::optimum && p < logs.size(); ++p) {
                const log &                l    = logs[p];
                const uint32_t             n    = plan.global ? n_slices : counted.blocks()[p].layout.n_expert;
                const std::vector<uint8_t> hits = simulate_optimum(l.slices, n, pool_slots(score.slots));
                for (size_t i = 0, at = 0; i < hits.size(); ++i) {
                    at += at + 1 < l.units.size() && l.units[at + 1].first == i;
                    tell(score, hits[i] != 0, log_cold[p][i] != 0, l.units[at].second, bytes_of(p, l.slices[i]));
                }
            }
        }
    }
};

cache::cache(const cache_plan & plan, const cache_counts & counted) : s_(std::make_unique<simulation>(plan, counted)) {}

cache::~cache() = default;

void cache::ubatch(const routed_ubatch & u) {
    const std::vector<token_place> & places = s_->tracker.follow(u);
    if (!selects(u)) {
        return;
    }
    cache_result & r = s_->result;
    if (r.ubatches == s_->counted.half_at()) {
        s_->end_half();
        s_->start_half(1);
    }
    uint64_t unit = r.ubatches / stretch;
    if (r.units_are_sequences) {  // of its first token; what has none counts for the first sequence
        const int64_t sequence = places.empty() ? -1 : places.front().sequence;
        unit                   = sequence < 0 ? 0 : static_cast<uint64_t>(sequence);
    }
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        slices_read(u.blocks[i], s_->ids);
        const size_t block = s_->blocks.index(*u.blocks[i].layout, i);
        for (const uint32_t id : s_->ids) {
            s_->access(block, id, static_cast<uint32_t>(unit));
        }
    }
    uint32_t n_rows = 0;  // tokens that were routed: a filter may have left some out
    for (const block_rows & rows : u.blocks) {
        n_rows = std::max(n_rows, rows.n_rows);
    }
    r.tokens += n_rows;
    r.ubatches += 1;
}

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

cache_result cache::result() {
    s_->end_half();
    s_->logs.assign(s_->n_pools(), {});
    return s_->result;
}

}  // namespace moescope::analysis
