#include "analysis/summary.hpp"

#include <algorithm>
#include <numeric>

#include "analysis/tools/distance.hpp"
#include "analysis/tools/running_stats.hpp"
#include "analysis/tools/slices.hpp"

namespace moescope::analysis {

namespace {

void measure_phases(summary_result & r) {
    constexpr auto prefill = static_cast<size_t>(row_kind::prefill), decode = static_cast<size_t>(row_kind::decode);
    running_stats  distance, chance;
    for (const block_frequency & b : r.frequency.blocks) {
        if (b.rows[prefill] > 0 && b.rows[decode] > 0) {
            distance.add(jensen_shannon(b.count[prefill], b.count[decode]));
            const uint32_t k = b.layout.has(block_layout::ids_repeat) ? 1 : b.layout.n_expert_used;
            chance.add(jensen_shannon_by_chance(b.count[prefill], b.count[decode], k));
        }
    }
    r.phase_distance        = distance.mean();
    r.phase_distance_chance = chance.mean();
}

}  // namespace

summary::lru_cache::lru_cache(uint32_t n_expert) : pool(make_lru(std::max(1u, n_expert / 4))), seen(n_expert) {}

// One ubatch's reads, by rising id.
void summary::lru_cache::read(const std::vector<uint32_t> & ids) {
    for (const uint32_t id : ids) {
        const bool hit = pool->access(id);
        warm += seen[id];
        hits += seen[id] && hit;
        seen[id] = true;
    }
}

summary::lru_block::lru_block(const block_layout & l)
    : measured(l.n_expert),
      by_chance(l.n_expert),
      order(l.n_expert),
      random(static_cast<uint32_t>(l.layer)) {
    std::iota(order.begin(), order.end(), 0u);
}

// What as many rows that select at random read, by rising id. The first k steps of a shuffle are k distinct ids.
void summary::lru_block::draw(const block_rows & rows, std::vector<uint32_t> & ids) {
    const auto n        = static_cast<uint32_t>(order.size());
    const bool distinct = !rows.layout->has(block_layout::ids_repeat);
    ids.clear();
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        for (uint32_t i = 0; i < std::min(rows.layout->n_expert_used, n); ++i) {
            if (distinct) {
                std::swap(order[i], order[i + random.below(n - i)]);
            }
            ids.push_back(distinct ? order[i] : random.below(n));
        }
    }
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

void summary::ubatch(const routed_ubatch & u) {
    frequency_.ubatch(u);
    temporal_.ubatch(u);
    const auto decoded = static_cast<uint8_t>(phase::decode);
    if (std::find(u.phases.begin(), u.phases.end(), decoded) == u.phases.end()) {
        return;
    }
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        const block_rows & rows = u.blocks[i];
        lru_block &        b    = lru_.at(*rows.layout, i);
        slices_read(rows, ids_);
        b.measured.read(ids_);
        b.draw(rows, ids_);
        b.by_chance.read(ids_);
    }
}

summary_result summary::result() const {
    summary_result r;
    r.frequency    = frequency_.result();
    double overlap = 0, popularity = 0, n = 0;  // over pairs of neighbours, as `analyze temporal` counts them
    for (const block_temporal & b : temporal_.result().blocks) {
        if (const auto pairs = double(b.overlap[0].n()); pairs > 0) {
            overlap += pairs * b.overlap[0].mean();
            popularity += pairs * b.overlap_by_popularity;
            n += pairs;
        }
    }
    r.overlap_next          = n > 0 ? overlap / n : unknown;
    r.overlap_by_popularity = n > 0 ? popularity / n : unknown;
    const auto hit_rate     = [&](lru_cache lru_block::*cache) {
        uint64_t hits = 0, warm = 0;
        for (size_t b = 0; b < lru_.size(); ++b) {
            hits += (lru_[b].*cache).hits;
            warm += (lru_[b].*cache).warm;
        }
        return warm > 0 ? double(hits) / double(warm) : unknown;
    };
    r.lru_hits        = hit_rate(&lru_block::measured);
    r.lru_hits_chance = hit_rate(&lru_block::by_chance);
    measure_phases(r);
    return r;
}

}  // namespace moescope::analysis
