#include "analysis/summary.hpp"

#include <algorithm>
#include <cmath>

#include "analysis/distance.hpp"
#include "analysis/slices.hpp"

namespace moescope::analysis {

namespace {

// The Jensen–Shannon distance that two samples of the same routing have, to second order: for free draws JS² has the mean
// (E − 1) (1/n_a + 1/n_b) / (8 ln 2), n in selections; a row's k distinct ids
// vary less than k free draws would, by (E − k) / (E − 1).
double distance_by_chance(const block_layout & l, double rows_a, double rows_b) {
    const double k = l.n_expert_used;
    return std::sqrt((l.n_expert - k) / (8 * std::log(2.0)) * (1 / (k * rows_a) + 1 / (k * rows_b)));
}

void measure_phases(summary_result & r) {
    constexpr auto prefill = static_cast<size_t>(row_kind::prefill), decode = static_cast<size_t>(row_kind::decode);
    running_stats  distance, chance;
    for (const block_frequency & b : r.frequency.blocks) {
        if (b.rows[prefill] > 0 && b.rows[decode] > 0) {
            distance.add(jensen_shannon(b.count[prefill], b.count[decode]));
            chance.add(distance_by_chance(b.layout, double(b.rows[prefill]), double(b.rows[decode])));
        }
    }
    r.phase_distance        = distance.mean();
    r.phase_distance_chance = chance.mean();
}

}  // namespace

summary::lru_block::lru_block(const block_layout & l)
    : pool(make_lru(std::max(1u, l.n_expert / 4))), seen(l.n_expert) {}

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
        for (const uint32_t id : ids_) {
            const bool hit = b.pool->access(id);
            b.warm += b.seen[id];
            b.hits += b.seen[id] && hit;
            b.seen[id] = true;
        }
    }
}

summary_result summary::result() const {
    summary_result r;
    r.frequency = frequency_.result();
    running_stats overlap, popularity;
    for (const block_temporal & b : temporal_.result().blocks) {
        if (b.overlap[0].n() > 0) {
            overlap.add(b.overlap[0].mean());
            popularity.add(b.overlap_by_popularity);
        }
    }
    r.overlap_next          = overlap.mean();
    r.overlap_by_popularity = popularity.mean();
    uint64_t hits = 0, warm = 0;
    for (size_t b = 0; b < lru_.size(); ++b) {
        hits += lru_[b].hits;
        warm += lru_[b].warm;
    }
    r.lru_hits = warm > 0 ? double(hits) / double(warm) : unknown;
    measure_phases(r);
    return r;
}

}  // namespace moescope::analysis
