// The five lines of `stats`: hand-worked cases and what chance shows.

#include <cmath>

#include <gtest/gtest.h>

#include "analysis/summary.hpp"
#include "analysis/tools/running_stats.hpp"
#include "core/random_stream.hpp"
#include "support/routing_builder.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;
using moescope::test::block_of;
using moescope::test::routing_builder;

TEST(summary, of_a_short_run_by_hand) {
    // Eight experts, so the cache holds two. Decoded: 0, 1, 0, 2, 1: of the warm reads 0 hits, 1 (evicted by 2) misses.
    routing_builder t({block_of(0, 8, 1)});
    t.token(0, 0, {{{0}}}, phase::prefill);
    for (int32_t i = 0; i < 5; ++i) {
        constexpr uint32_t ids[] = {0, 1, 0, 2, 1};
        t.token(0, 1 + i, {{{ids[i]}}});
    }
    summary s;
    t.feed(s);
    const summary_result r = s.result();
    EXPECT_NEAR(r.lru_hits, 1.0 / 2, 1e-12);
    EXPECT_NEAR(r.overlap_next, 1.0 / 5, 1e-12);            // only the first decoded token repeats the one before
    EXPECT_NEAR(r.overlap_by_popularity, 4.0 / 15, 1e-12);  // of 15 pairs, 3 share expert 0 and 1 shares expert 1
    EXPECT_EQ(r.frequency.tokens, 6u);
    EXPECT_EQ(r.frequency.n_dead(), 5u);
    // p = (1, 0, 0), q = (2/5, 2/5, 1/5), m = (7/10, 1/5, 1/10)
    const double js = (std::log2(1 / 0.7) + 0.4 * std::log2(0.4 / 0.7) + 0.4 + 0.2) / 2;
    EXPECT_NEAR(r.phase_distance, std::sqrt(js), 1e-12);
}

TEST(summary, phases_of_one_router_lie_as_far_apart_as_chance_says) {
    random_stream random(12);
    running_stats measured, chance;
    for (int round = 0; round < 30; ++round) {
        routing_builder t({block_of(0, 16, 4)});
        for (int32_t i = 0; i < 600; ++i) {
            std::vector<uint32_t> ids(16);
            for (uint32_t e = 0; e < 16; ++e) {
                ids[e] = e;
            }
            for (uint32_t j = 0; j < 4; ++j) {
                std::swap(ids[j], ids[j + random.below(16 - j)]);
            }
            ids.resize(4);
            t.token(0, i, {{ids}}, i < 400 ? phase::prefill : phase::decode);
        }
        summary s;
        t.feed(s);
        measured.add(s.result().phase_distance * s.result().phase_distance);
        chance.add(s.result().phase_distance_chance * s.result().phase_distance_chance);
    }
    EXPECT_NEAR(measured.mean() / chance.mean(), 1, 0.2);
}

TEST(summary, of_nothing_knows_nothing) {
    const summary_result r = summary().result();
    EXPECT_TRUE(std::isnan(r.overlap_next) && std::isnan(r.lru_hits) && std::isnan(r.phase_distance));
}

}  // namespace
