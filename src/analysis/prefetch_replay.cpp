#include "analysis/prefetch_replay.hpp"

#include <algorithm>

#include "analysis/tools/slices.hpp"

namespace moescope::analysis {

held_experts::held_experts(uint32_t slots, const cache_counts & counted) : keeps_(slots > 0) {
    for (size_t b = 0; b < counted.blocks().size(); ++b) {
        pools_.push_back(make_lru(slots));
        held_.emplace_back(counted.blocks()[b].layout.n_expert);
    }
}

bool held_experts::access(size_t block, uint32_t id) {
    cache_pool & pool = *pools_[block];
    const bool   hit  = pool.access(id);
    if (pool.evicted() != no_slice) {
        held_[block][pool.evicted()] = false;
    }
    held_[block][id] = keeps_;
    return hit;
}

prefetch::replay::replay(const prefetch_plan & plan, const cache_counts & counted, uint64_t units)
    : plan_(plan),
      counted_(counted),
      units_(units),
      misses_(plan.slots.size()),
      missing_(plan.slots.size()) {
    double bytes = 0, slices = 0;
    for (size_t b = 0; b < counted.blocks().size(); ++b) {
        const block_layout & l = counted.blocks()[b].layout;
        blocks_.at(l, b);
        weight_.push_back(double(plan.sizes.of(l)));
        bytes += weight_.back() * l.n_expert;
        slices += l.n_expert;
    }
    mean_bytes_ = slices > 0 ? bytes / slices : 0;
    for (double & w : weight_) {
        w = mean_bytes_ > 0 ? w / mean_bytes_ : 1;
    }
    list_lines();
    start_half();
}

void prefetch::replay::list_lines() {
    for (size_t c = 0; c < plan_.slots.size(); ++c) {
        for (const double time : plan_.slice_times) {
            std::vector<prefetcher> by = {{prefetcher::kind::none, {}}};
            for (const foresight f : all_foresights()) {
                by.push_back({prefetcher::kind::foreseen, f});
            }
            by.push_back({prefetcher::kind::oracle, {}});
            for (const prefetcher & p : by) {
                line & l           = lines_.emplace_back();
                l.score.by         = p;
                l.score.slots      = plan_.slots[c];
                l.score.slice_time = time;
                l.cache            = c;
                l.score.unit_stall.resize(units_);
            }
        }
    }
}

void prefetch::replay::start_half() {
    caches_.clear();
    for (const uint32_t slots : plan_.slots) {
        caches_.emplace_back(slots, counted_);
    }
}

// The lists of the rows in turn: the likeliest of each first.
void prefetch::replay::merge_rows(const routed_ubatch & u, const forecaster & seen, turn & t) const {
    const block_rows & rows  = u.blocks[t.index];
    const uint32_t     ahead = plan_.ahead > 0 ? plan_.ahead : rows.layout->n_expert_used;
    for (const foresight f : all_foresights()) {
        std::vector<uint32_t> & merged = t.foreseen[static_cast<size_t>(f)];
        merged.clear();
        for (uint32_t rank = 0; rank < ahead; ++rank) {
            for (uint32_t r = 0; r < rows.n_rows; ++r) {
                const std::vector<uint32_t> & list = seen.list(f, t.index, r);
                if (rank < list.size() && std::find(merged.begin(), merged.end(), list[rank]) == merged.end()) {
                    merged.push_back(list[rank]);
                }
            }
        }
    }
}

void prefetch::replay::find_turns(const routed_ubatch & u, const forecaster & seen) {
    turns_.clear();
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        if (u.blocks[i].n_rows > 0) {
            turn & t = turns_.emplace_back();
            t.index  = i;
            t.block  = blocks_.index(*u.blocks[i].layout, i);
            t.number = ++next_turn_;
            slices_read(u.blocks[i], t.needed);
            merge_rows(u, seen, t);
        }
    }
}

void prefetch::replay::foresee(line & l, const turn & t) {
    if (l.score.by.how == prefetcher::kind::none) {
        return;
    }
    const bool                    oracle = l.score.by.how == prefetcher::kind::oracle;
    const std::vector<uint32_t> & ids    = oracle ? t.needed : t.foreseen[static_cast<size_t>(l.score.by.from)];
    for (const uint32_t id : ids) {
        if (!caches_[l.cache].holds(t.block, id)) {
            l.fetches.foresee(t.number, {id, slice_time(l, t.block)});
        }
    }
}

void prefetch::replay::play(const turn & t, uint32_t unit) {
    for (size_t c = 0; c < caches_.size(); ++c) {
        missing_[c].clear();
        for (const uint32_t id : t.needed) {
            if (!caches_[c].access(t.block, id)) {
                missing_[c].push_back(id);
            }
        }
        misses_[c] += missing_[c].size();
    }
    for (line & l : lines_) {
        fetches_.clear();
        for (const uint32_t id : missing_[l.cache]) {
            fetches_.push_back({id, slice_time(l, t.block)});
        }
        l.score.unit_stall[unit] += l.fetches.begin(t.number, fetches_, 1);
    }
}

void prefetch::replay::ubatch(const routed_ubatch & u, const forecaster & seen, uint32_t unit) {
    find_turns(u, seen);
    for (size_t i = 0; i < turns_.size(); ++i) {
        // Foreseen while the layer before began; two layers before, where router2 looks. No router sees the next ubatch.
        for (line & l : lines_) {
            const bool two = l.score.by.how == prefetcher::kind::foreseen && l.score.by.from == foresight::router2;
            if (i == 0 || !two) {
                foresee(l, turns_[i]);
            }
        }
        play(turns_[i], unit);
        for (line & l : lines_) {
            const bool two = l.score.by.how == prefetcher::kind::foreseen && l.score.by.from == foresight::router2;
            if (two && i + 2 < turns_.size()) {
                foresee(l, turns_[i + 2]);
            }
        }
    }
}

void prefetch::replay::add_to(prefetch_result & r) const {
    for (const line & l : lines_) {
        prefetch_score & s = r.scores.emplace_back(l.score);
        s.ahead            = l.fetches.fetched_ahead();
        s.in_vain          = l.fetches.in_vain();
        s.on_demand        = l.fetches.on_demand();
    }
    r.misses           = misses_;
    r.mean_slice_bytes = mean_bytes_;
}

}  // namespace moescope::analysis
