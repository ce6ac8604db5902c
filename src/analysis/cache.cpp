#include "analysis/cache.hpp"

#include <algorithm>

#include "analysis/tools/slices.hpp"

namespace moescope::analysis {

namespace {

constexpr cache_policy all_policies[] = {cache_policy::lru,    cache_policy::lfu,         cache_policy::lfru,
                                         cache_policy::decay,  cache_policy::least_stale, cache_policy::fixed,
                                         cache_policy::random, cache_policy::optimum};

void add_access(cache_score & score, bool hit, bool cold, size_t unit, double slice_bytes) {
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

}  // namespace

void cache_counts::ubatch(const routed_ubatch & u) {
    tracker_.follow(u);  // also where a filter left nothing: a sequence begins with its prompt
    if (!selects_any(u)) {
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

// The pools of every policy at every number of slots, while the ubatches pass. Belady's optimum needs to know what follows,
// so it plays at the end of each half what was logged.
class cache::simulation {
public:
    simulation(const cache_plan & plan, const cache_counts & counted);

    void         ubatch(const routed_ubatch & u);
    cache_result result();  // after the last ubatch

private:
    // A pool's accesses in one half.
    struct log {
        std::vector<uint32_t>                      slices;
        std::vector<uint8_t>                       cold;   // parallel to the slices
        std::vector<std::pair<uint32_t, uint32_t>> units;  // first access, unit

        void add(uint32_t slice, bool is_cold, uint32_t unit);
    };

    void number_slices();
    void list_scores();
    void start_half(size_t half);
    void end_half();
    void access(size_t block, uint32_t id, uint32_t unit);
    void play_optimum(cache_score & score, size_t pool) const;

    std::unique_ptr<cache_pool> make_pool(const cache_score & score, size_t pool, size_t half) const;
    std::vector<uint64_t>       counts_of_pool(size_t pool, size_t half) const;
    std::vector<uint32_t>       layer_of_slices(size_t pool) const;
    size_t                      block_of(size_t pool, uint32_t slice) const;
    void                        tell(size_t block, uint32_t id);
    double                      bytes_of(size_t pool, uint32_t slice) const;
    size_t                      n_pools() const { return plan_.global ? 1 : base_.size(); }
    uint32_t                    slots_of_pool(uint32_t slots) const {
                           return plan_.global ? slots * static_cast<uint32_t>(base_.size()) : slots;
    }

    cache_plan           plan_;
    const cache_counts & counted_;
    cache_result         result_;

    // Slices are numbered through a pool: by expert in a block's own, by block and expert in one for all.
    block_table<cache_counts::block> blocks_;  // maps layouts to the numbers of `counted_`
    std::vector<uint32_t>            base_;    // [block] first slice in a pool for all
    std::vector<double>              bytes_;   // [block] of a slice
    uint32_t                         n_slices_ = 0;

    std::vector<size_t>                                   online_;  // scores whose policy needs no future
    std::vector<std::vector<std::unique_ptr<cache_pool>>> pools_;   // [online score][pool] in this half
    std::vector<log>                                      logs_;    // [pool] of this half
    std::vector<uint8_t>                                  seen_;    // [slice] in this half

    interval_units          units_;
    sequence_tracker        tracker_;
    std::vector<uint32_t>   ids_;
    std::vector<cache_step> steps_;  // [online score] of the access at hand
};

void cache::simulation::log::add(uint32_t slice, bool is_cold, uint32_t unit) {
    if (units.empty() || units.back().second != unit) {
        units.emplace_back(static_cast<uint32_t>(slices.size()), unit);
    }
    slices.push_back(slice);
    cold.push_back(is_cold);
}

cache::simulation::simulation(const cache_plan & plan, const cache_counts & counted) : plan_(plan), counted_(counted) {
    number_slices();
    units_                      = interval_units(counted.n_sequences(), counted.ubatches());
    result_.units_are_sequences = units_.by_sequence;
    result_.units               = units_.n;
    list_scores();
    start_half(0);
}

void cache::simulation::number_slices() {
    double sum = 0;
    for (size_t b = 0; b < counted_.blocks().size(); ++b) {
        const block_layout & l = counted_.blocks()[b].layout;
        blocks_.at(l, b);
        base_.push_back(n_slices_);
        n_slices_ += l.n_expert;
        bytes_.push_back(double(plan_.sizes.of(l)));
        sum += bytes_.back() * l.n_expert;
    }
    result_.n_slices         = n_slices_;
    result_.mean_slice_bytes = n_slices_ ? sum / n_slices_ : 0;
}

void cache::simulation::list_scores() {
    for (const uint32_t slots : plan_.slots) {
        for (const cache_policy policy : all_policies) {
            if (policy == cache_policy::optimum && !plan_.optimum) {
                continue;
            }
            cache_score score;
            score.policy = policy;
            score.slots  = slots;
            score.unit_hits.resize(result_.units);
            score.unit_warm.resize(result_.units);
            if (policy != cache_policy::optimum) {
                online_.push_back(result_.scores.size());
            }
            result_.scores.push_back(std::move(score));
        }
    }
}

void cache::simulation::start_half(size_t half) {
    seen_.assign(n_slices_, 0);
    logs_.assign(n_pools(), {});
    pools_.clear();
    for (const size_t i : online_) {
        auto & set = pools_.emplace_back();
        for (size_t p = 0; p < n_pools(); ++p) {
            set.push_back(make_pool(result_.scores[i], p, half));
        }
    }
}

std::unique_ptr<cache_pool> cache::simulation::make_pool(const cache_score & score, size_t pool, size_t half) const {
    const uint32_t slots = slots_of_pool(score.slots);
    switch (score.policy) {
        case cache_policy::lru: return make_lru(slots);
        case cache_policy::lfu: return make_lfu(slots);
        case cache_policy::lfru: return make_lfru(slots);
        case cache_policy::decay: return make_decay(slots);
        case cache_policy::least_stale: return make_least_stale(slots, layer_of_slices(pool));
        case cache_policy::fixed: return make_fixed(slots, counts_of_pool(pool, 1 - half));
        default: return make_random(slots, pool);
    }
}

std::vector<uint64_t> cache::simulation::counts_of_pool(size_t pool, size_t half) const {
    if (!plan_.global) {
        return counted_.blocks()[pool].count[half];
    }
    std::vector<uint64_t> all;
    for (size_t b = 0; b < base_.size(); ++b) {
        const auto & c = counted_.blocks()[b].count[half];
        all.insert(all.end(), c.begin(), c.end());
    }
    return all;
}

std::vector<uint32_t> cache::simulation::layer_of_slices(size_t pool) const {
    if (!plan_.global) {
        return std::vector<uint32_t>(counted_.blocks()[pool].layout.n_expert, 0);
    }
    std::vector<uint32_t> all;
    for (size_t b = 0; b < base_.size(); ++b) {
        all.insert(all.end(), counted_.blocks()[b].layout.n_expert, static_cast<uint32_t>(b));
    }
    return all;
}

void cache::simulation::access(size_t block, uint32_t id, uint32_t unit) {
    const size_t   pool  = plan_.global ? 0 : block;
    const uint32_t slice = plan_.global ? base_[block] + id : id;
    uint8_t &      seen  = seen_[base_[block] + id];
    const bool     cold  = seen == 0;
    seen                 = 1;
    steps_.resize(online_.size());
    for (size_t i = 0; i < online_.size(); ++i) {
        cache_pool & p = *pools_[i][pool];
        cache_step & s = steps_[i];
        s.hit          = p.access(slice);
        s.layout       = nullptr;
        add_access(result_.scores[online_[i]], s.hit, cold, unit, bytes_[block]);
        if (plan_.on_access && p.evicted() != no_slice) {
            const size_t from = block_of(pool, p.evicted());
            s.layout          = &counted_.blocks()[from].layout;
            s.evicted         = p.evicted() - (plan_.global ? base_[from] : 0);
        }
    }
    if (plan_.on_access) {
        tell(block, id);
    }
    if (plan_.optimum) {
        logs_[pool].add(slice, cold, unit);
    }
}

void cache::simulation::tell(size_t block, uint32_t id) {
    for (size_t i = 0; i < online_.size(); ++i) {
        steps_[i].policy = result_.scores[online_[i]].policy;
        steps_[i].slots  = result_.scores[online_[i]].slots;
    }
    plan_.on_access({result_.ubatches, &counted_.blocks()[block].layout, id, steps_});
}

size_t cache::simulation::block_of(size_t pool, uint32_t slice) const {
    if (!plan_.global) {
        return pool;
    }
    return static_cast<size_t>(std::upper_bound(base_.begin(), base_.end(), slice) - base_.begin()) - 1;
}

double cache::simulation::bytes_of(size_t pool, uint32_t slice) const {
    return bytes_[block_of(pool, slice)];
}

void cache::simulation::play_optimum(cache_score & score, size_t pool) const {
    const log &                l    = logs_[pool];
    const uint32_t             n    = plan_.global ? n_slices_ : counted_.blocks()[pool].layout.n_expert;
    const std::vector<uint8_t> hits = simulate_optimum(l.slices, n, slots_of_pool(score.slots));
    for (size_t i = 0, at = 0; i < hits.size(); ++i) {
        at += at + 1 < l.units.size() && l.units[at + 1].first == i;
        add_access(score, hits[i] != 0, l.cold[i] != 0, l.units[at].second, bytes_of(pool, l.slices[i]));
    }
}

void cache::simulation::end_half() {
    for (cache_score & score : result_.scores) {
        for (size_t p = 0; score.policy == cache_policy::optimum && p < logs_.size(); ++p) {
            play_optimum(score, p);
        }
    }
}

void cache::simulation::ubatch(const routed_ubatch & u) {
    const std::vector<token_place> & places = tracker_.follow(u);
    if (!selects_any(u)) {
        return;
    }
    if (result_.ubatches == counted_.half_at()) {
        end_half();
        start_half(1);
    }
    for (auto & set : pools_) {
        for (auto & p : set) {
            p->next_pass();
        }
    }
    const uint32_t unit   = units_.of(places, result_.ubatches);
    uint32_t       n_rows = 0;  // tokens that were routed: a filter may have left some out
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        slices_read(u.blocks[i], ids_);
        const size_t block = blocks_.index(*u.blocks[i].layout, i);
        for (const uint32_t id : ids_) {
            access(block, id, unit);
        }
        n_rows = std::max(n_rows, u.blocks[i].n_rows);
    }
    result_.tokens += n_rows;
    result_.ubatches += 1;
}

cache_result cache::simulation::result() {
    end_half();
    logs_.assign(n_pools(), {});
    return result_;
}

cache::cache(const cache_plan & plan, const cache_counts & counted) : s_(std::make_unique<simulation>(plan, counted)) {}

cache::~cache() = default;

void cache::ubatch(const routed_ubatch & u) {
    s_->ubatch(u);
}

cache_result cache::result() {
    return s_->result();
}

}  // namespace moescope::analysis
