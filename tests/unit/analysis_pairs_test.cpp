// Co-activation, temporal and gate drift: hand-worked cases and properties.

#include <algorithm>
#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include "analysis/coactivation.hpp"
#include "analysis/gate_drift.hpp"
#include "analysis/temporal.hpp"
#include "core/random_stream.hpp"
#include "support/routing_builder.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;
using moescope::test::block_of;
using moescope::test::routing_builder;

double value(const drift_values & v, drift_measure m) {
    return v[static_cast<size_t>(m)];
}

// ---- gate drift ----------------------------------------------------------------------------------------------------

TEST(gate_drift, of_vectors_worked_by_hand) {
    const float a[] = {3, 4}, b[] = {4, 3};
    const auto  v = measure_drift(a, b, 2);
    EXPECT_NEAR(value(v, drift_measure::cosine), 24.0 / 25, 1e-12);
    EXPECT_NEAR(value(v, drift_measure::cosine_distance), 1.0 / 25, 1e-12);
    EXPECT_NEAR(value(v, drift_measure::euclidean), std::sqrt(2.0), 1e-12);
    EXPECT_NEAR(value(v, drift_measure::l2_normalised), std::sqrt(2.0) / 5, 1e-12);
    EXPECT_NEAR(value(v, drift_measure::pearson), -1, 1e-12);
    EXPECT_NEAR(value(v, drift_measure::mean_abs), 1, 1e-12);
}

TEST(gate_drift, of_identical_inputs_is_zero) {
    const float a[] = {0.3f, -1.7f, 2.9f, 1e-3f};
    const auto  v   = measure_drift(a, a, 4);
    EXPECT_NEAR(value(v, drift_measure::cosine), 1, 1e-15);
    EXPECT_EQ(value(v, drift_measure::euclidean), 0);
    EXPECT_EQ(value(v, drift_measure::l2_normalised), 0);
    EXPECT_EQ(value(v, drift_measure::mean_abs), 0);
    EXPECT_NEAR(value(v, drift_measure::pearson), 1, 1e-15);
}

TEST(gate_drift, of_a_zero_vector_has_no_direction) {
    const float a[] = {0, 0}, b[] = {1, 1};
    const auto  v = measure_drift(a, b, 2);
    EXPECT_TRUE(std::isnan(value(v, drift_measure::cosine)) && std::isnan(value(v, drift_measure::pearson)));
    EXPECT_NEAR(value(v, drift_measure::euclidean), std::sqrt(2.0), 1e-12);
}

TEST(gate_drift, takes_decoded_tokens_and_matches_rows_by_token) {
    const column_set columns = column::ids | column::gate_input;
    routing_builder  t({block_of(2, 4, 1, columns, 2), block_of(5, 4, 1, columns, 2), block_of(6, 4, 1, columns, 2)});
    const auto       at = [](float x, float y) { return moescope::test::row{{0}, {}, {}, {x, y}}; };
    // The last block computes only the second token.
    t.ubatch({{1, 0, 0, phase::prefill, {at(1, 0), at(0, 1), {}}},
              {2, 1, 0, phase::prefill, {at(1, 0), at(1, 0), at(0, 2)}}});
    t.token(0, 2, {at(1, 0), at(1, 1), at(1, 1)}, phase::decode, 3);
    gate_drift decoded, all(true);
    t.feed(decoded);
    t.feed(all);
    const gate_drift_result d = decoded.result(), e = all.result();
    ASSERT_EQ(d.pairs.size(), 2u);
    EXPECT_EQ(d.pairs[0].from_layer, 2);
    EXPECT_EQ(d.pairs[1].to_layer, 6);
    ASSERT_EQ(d.steps.size(), 1u);
    EXPECT_EQ(d.steps[0].pos, 2);
    EXPECT_NEAR(d.pairs[0].values[0][0], std::sqrt(0.5), 1e-7);
    EXPECT_NEAR(value(d.steps[0].mean, drift_measure::cosine), (std::sqrt(0.5) + 1) / 2, 1e-7);
    ASSERT_EQ(e.pairs[1].values[0].size(), 2u);     // token 0 has no partner in the last block
    EXPECT_NEAR(e.pairs[1].values[0][0], 0, 1e-7);  // (1, 0) against (0, 2): token 1 with token 1
}

TEST(gate_drift, summary_has_the_median_of_even_and_odd_numbers) {
    EXPECT_EQ(summarise({3, 1, 2}).median, 2);
    EXPECT_EQ(summarise({4, 1, 3, 2}).median, 2.5);
    const drift_summary s = summarise({1, NAN, 3});
    EXPECT_EQ(s.n, 2u);
    EXPECT_EQ(s.mean, 2);
    EXPECT_NEAR(s.sd, std::sqrt(2.0), 1e-12);
    EXPECT_TRUE(std::isnan(summarise({}).median));
}

// ---- co-activation -------------------------------------------------------------------------------------------------

TEST(coactivation, counts_all_pairs_of_a_row_not_neighbours_alone) {
    routing_builder t({block_of(0, 4, 3)});
    t.token(0, 0, {{{0, 1, 2}}}).token(0, 1, {{{2, 3, 0}}});
    coactivation c;
    t.feed(c);
    const auto r = c.result();
    ASSERT_EQ(r.within.size(), 1u);
    const pair_counts & p = r.within[0];
    EXPECT_EQ(p.n_both(0, 2), 2u);  // ranks 0 and 2, then 2 and 0
    EXPECT_EQ(p.n_both(2, 0), 2u);
    EXPECT_EQ(p.n_both(0, 1), 1u);
    EXPECT_EQ(p.n_both(1, 3), 0u);
    EXPECT_NEAR(p.conditional(0, 1), 0.5, 1e-12);
    EXPECT_NEAR(p.conditional(1, 0), 1.0, 1e-12);
    EXPECT_NEAR(p.lift(1, 3), 0, 1e-12);
    EXPECT_NEAR(p.lift(0, 1), 0.5 / 0.5, 1e-12);
    EXPECT_TRUE(r.between.empty());
    // Σ over b ≠ a of N(a, b) = (k − 1) N(a)
    for (uint32_t a = 0; a < 4; ++a) {
        uint64_t sum = 0;
        for (uint32_t b = 0; b < 4; ++b) {
            sum += p.n_both(a, b);
        }
        EXPECT_EQ(sum, 2 * p.count_from[a]);
    }
}

TEST(pairs_within, count_an_expert_that_repeats_once_or_each_time) {
    block_layout l = block_of(0, 6, 3);
    l.flags        = block_layout::ids_repeat;
    routing_builder t({l});
    t.token(0, 0, {{{3, 5, 3}}}).token(0, 1, {{{5, 3, 1}}});
    pairs_within once, each(repeats::each);
    t.feed(once);
    t.feed(each);
    // (0,1) … (0,5), (1,2) … (1,5), (2,3) … (2,5), (3,4), (3,5), (4,5)
    EXPECT_EQ(once.triangle(l), (std::vector<uint64_t>{0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 2, 0}));
    EXPECT_EQ(each.triangle(l), (std::vector<uint64_t>{0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 3, 0}));
    EXPECT_EQ(once.result().at(0).n_both(5, 3), 2u);
    EXPECT_EQ(once.result().at(0).count_from[3], 2u);
    EXPECT_EQ(each.result().at(0).count_from[3], 3u);
    EXPECT_TRUE(once.triangle({1, 0}).empty());
}

TEST(coactivation, of_independent_routers_is_one_between_and_the_formula_within) {
    const uint32_t  n = 8, k = 2;
    routing_builder t({block_of(0, n, k), block_of(1, n, k)});
    random_stream   random(7);
    const auto      draw = [&] {
        const uint32_t a = random.below(n), b = (a + 1 + random.below(n - 1)) % n;
        return moescope::test::row{{a, b}};
    };
    for (int i = 0; i < 4000; ++i) {
        t.token(0, i, {draw(), draw()});
    }
    coactivation c;
    t.feed(c);
    const auto r       = c.result();
    int        outside = 0, pairs = 0;
    for (const pair_counts * p : {&r.within[0], &r.between[0]}) {
        const double expected = p->lift_by_chance();
        EXPECT_NEAR(expected, p->within() ? 8.0 * 1 / (2 * 7) : 1.0, 1e-12);
        double mean = 0;
        int    here = 0;
        for (uint32_t a = 0; a < n; ++a) {
            for (uint32_t b = 0; b < n; ++b) {
                if (p->within() && a == b) {
                    continue;
                }
                const interval i = p->lift_interval(a, b);
                outside += expected < i.low || expected > i.high;
                mean += p->lift(a, b);
                here += 1;
            }
        }
        EXPECT_NEAR(mean / here, expected, 0.03);
        pairs += here;
    }
    EXPECT_LT(outside, pairs / 6);  // 5 % are expected; the intervals of one row of pairs depend on each other
}

TEST(coactivation, leaves_out_pairs_that_hardly_ever_met) {
    routing_builder t({block_of(0, 16, 2)});
    for (int32_t i = 0; i < 40; ++i) {
        t.token(0, i,
                {{i < 4   ? std::vector<uint32_t>{14, 15}
                  : i < 9 ? std::vector<uint32_t>{12, 13}
                          : std::vector<uint32_t>{0, 1}}});
    }
    coactivation c;
    t.feed(c);
    const auto top = top_pairs(c.result().within[0], 10);
    ASSERT_EQ(top.size(), 2u);  // four times 14 and 15: the highest lift, and too little to say so
    EXPECT_EQ(top[0].a, 12u);
    EXPECT_EQ(top[1].a, 0u);
}

// From one block to the next by hand: rows (0 | 1), (0 | 1), (0 | 2), (3 | 2).
TEST(coactivation, counts_from_a_block_to_the_next) {
    routing_builder t({block_of(0, 4, 1), block_of(5, 4, 1)});
    t.token(0, 0, {{{0}}, {{1}}}).token(0, 1, {{{0}}, {{1}}}).token(0, 2, {{{0}}, {{2}}}).token(0, 3, {{{3}}, {{2}}});
    t.token(0, 4, {{{3}}, {}});  // the next block did not compute it
    coactivation c;
    t.feed(c);
    const coactivation_result r = c.result();
    ASSERT_EQ(r.between.size(), 1u);
    const pair_counts & p = r.between[0];
    EXPECT_EQ(p.rows, 4u);
    EXPECT_EQ(p.to.layer, 5);
    EXPECT_NEAR(p.conditional(0, 1), 2.0 / 3, 1e-12);
    EXPECT_NEAR(p.lift(0, 1), 2.0 / 3 / 0.5, 1e-12);
    EXPECT_NEAR(p.lift(3, 2), 2, 1e-12);
    EXPECT_NEAR(p.lift_interval(0, 1).high, wilson(2, 3).high / 0.5, 1e-12);
}

TEST(coactivation, finds_the_planted_pair_first) {
    routing_builder t({block_of(0, 16, 2)});
    for (int i = 0; i < 200; ++i) {
        const auto e = static_cast<uint32_t>(i % 7);
        t.token(0, i, {{i % 5 == 0 ? std::vector<uint32_t>{11, 13} : std::vector<uint32_t>{e, (e + 3) % 7}}});
    }
    coactivation c;
    t.feed(c);
    const auto top = top_pairs(c.result().within[0], 3);
    ASSERT_EQ(top.size(), 3u);
    EXPECT_EQ(top[0].a, 11u);
    EXPECT_EQ(top[0].b, 13u);
    EXPECT_NEAR(top[0].lift, 5, 1e-12);  // always together, in a fifth of the rows
}

// ---- temporal ------------------------------------------------------------------------------------------------------

TEST(temporal, overlaps_neighbours_of_a_sequence_and_not_of_a_batch) {
    routing_builder t({block_of(0, 8, 2)});
    // Two sequences interleaved in one batch; each keeps its experts.
    t.ubatch({{-1, 0, 0, phase::prefill, {{{0, 1}}}}, {-1, 0, 1, phase::prefill, {{{4, 5}}}}});
    t.ubatch({{-1, 1, 0, phase::decode, {{{1, 0}}}}, {-1, 1, 1, phase::decode, {{{4, 6}}}}});
    temporal x;
    t.feed(x);
    const temporal_result r = x.result();
    EXPECT_EQ(r.sequences, 2u);
    EXPECT_EQ(r.blocks[0].overlap[0].n(), 2u);
    EXPECT_NEAR(r.blocks[0].overlap[0].mean(), (1 + 0.5) / 2, 1e-12);
    EXPECT_EQ(r.blocks[0].reuse[0], 3u);                    // 0, 1 and 4 again after one token
    EXPECT_EQ(r.blocks[0].reuse[n_reuse_classes - 1], 5u);  // first uses
    EXPECT_NEAR(r.blocks[0].overlap_by_chance, 0.25, 1e-12);
}

TEST(temporal, a_new_sequence_under_the_same_id_has_no_neighbour_before) {
    routing_builder t({block_of(0, 4, 1)});
    t.token(0, 0, {{{1}}}).token(0, 1, {{{1}}}).token(0, 0, {{{1}}}).token(0, 5, {{{1}}});  // cleared; then a gap
    temporal x;
    t.feed(x);
    EXPECT_EQ(x.result().blocks[0].overlap[0].n(), 1u);
    EXPECT_EQ(x.result().sequences, 2u);
}

TEST(temporal, goes_on_behind_a_context_shift) {
    const std::vector<std::vector<uint32_t>> ids = {{0, 1}, {1, 2}, {2, 3}, {0, 3}, {3, 4}, {1, 4}};
    temporal                                 plain, shifted;
    routing_builder                          t({block_of(0, 8, 2)}), u({block_of(0, 8, 2)});
    for (int32_t i = 0; i < 6; ++i) {
        t.token(0, i, {{ids[size_t(i)]}});
        u.token(0, i < 4 ? i : i - 2, {{ids[size_t(i)]}});  // positions 1 and 2 made room behind the fourth token
        if (i == 4) {
            memory_event e;
            e.kind  = memory_event::what::shift;
            e.seq   = 0;
            e.p0    = 3;
            e.delta = -2;
            u.behind(e);
        }
    }
    t.feed(plain);
    u.feed(shifted);
    const temporal_result a = plain.result(), b = shifted.result();
    EXPECT_EQ(b.sequences, 1u);
    EXPECT_EQ(b.blocks[0].reuse, a.blocks[0].reuse);
    EXPECT_EQ(b.blocks[0].reuse[n_reuse_classes - 1], 5u);
    for (size_t l = 0; l < overlap_lags.size(); ++l) {
        EXPECT_EQ(b.blocks[0].overlap[l].n(), a.blocks[0].overlap[l].n());
    }
    EXPECT_EQ(b.blocks[0].overlap[0].mean(), a.blocks[0].overlap[0].mean());
}

TEST(temporal, any_two_tokens_of_a_trace_of_two_are_these_two) {
    routing_builder t({block_of(0, 8, 2)});
    t.token(0, 0, {{{1, 2}}}).token(0, 1, {{{2, 3}}});
    temporal x;
    t.feed(x);
    const block_temporal b = x.result().blocks[0];
    EXPECT_EQ(b.overlap[0].mean(), 0.5);
    EXPECT_EQ(b.overlap_by_popularity, 0.5);
}

TEST(temporal, finds_a_period_at_its_lag) {
    routing_builder t({block_of(0, 8, 2)});
    for (uint32_t i = 0; i < 400; ++i) {
        t.token(0, int32_t(i), {{{i % 4, 4 + i % 4}}});
    }
    temporal x;
    t.feed(x);
    const block_temporal b = x.result().blocks[0];
    EXPECT_EQ(b.overlap[0].mean(), 0);  // lag 1
    EXPECT_EQ(b.overlap[2].mean(), 1);  // lag 4
    EXPECT_EQ(b.overlap[7].mean(), 1);  // lag 128, the whole ring
    EXPECT_EQ(b.overlap[7].n(), 400u - 128);
    EXPECT_EQ(b.reuse[2], 2u * 396);                          // distance 4 is in the class 3 to 4
    EXPECT_NEAR(b.overlap_by_popularity, 99.0 / 399, 1e-12);  // 99 of the 399 other tokens select both
    EXPECT_NEAR(b.reuse_by_chance[0], 0.25, 1e-12);           // geometric with p = k / E = 1/4
    EXPECT_NEAR(b.reuse_by_chance[1], 0.75 * 0.25, 1e-12);
    EXPECT_NEAR(b.reuse_by_chance[2], 0.75 * 0.75 * (0.25 + 0.75 * 0.25), 1e-12);  // 3 or 4 tokens ago
    double sum = 0;
    for (const double share : b.reuse_by_chance) {
        sum += share;
    }
    EXPECT_NEAR(sum, 1, 1e-12);
}

// Every lag and distance, against sets and loops.
TEST(temporal, agrees_with_a_plain_count_over_all_lags) {
    const uint32_t                     n = 40, k = 3;
    routing_builder                    t({block_of(0, n, k)});
    random_stream                      random(21);
    std::vector<std::vector<uint32_t>> rows;
    for (int32_t i = 0; i < 500; ++i) {
        std::vector<uint32_t> ids;
        while (ids.size() < k) {  // some experts rest for long, so that distances of more than 64 and 128 occur
            const uint32_t e = std::min({random.below(n), random.below(n), random.below(n)});
            if (std::find(ids.begin(), ids.end(), e) == ids.end()) {
                ids.push_back(e);
            }
        }
        rows.push_back(ids);
        t.token(0, i, {{ids}});
    }
    temporal x;
    t.feed(x);
    const block_temporal b = x.result().blocks[0];
    for (size_t l = 0; l < overlap_lags.size(); ++l) {
        double shared = 0;
        for (size_t i = overlap_lags[l]; i < rows.size(); ++i) {
            for (const uint32_t e : rows[i]) {
                shared += std::count(rows[i - overlap_lags[l]].begin(), rows[i - overlap_lags[l]].end(), e);
            }
        }
        EXPECT_EQ(b.overlap[l].n(), rows.size() - overlap_lags[l]);
        EXPECT_NEAR(b.overlap[l].mean(), shared / k / double(b.overlap[l].n()), 1e-12) << overlap_lags[l];
    }
    std::array<uint64_t, n_reuse_classes> reuse = {};
    for (size_t i = 0; i < rows.size(); ++i) {
        for (const uint32_t e : rows[i]) {
            size_t d = 1;
            while (d <= i && std::count(rows[i - d].begin(), rows[i - d].end(), e) == 0) {
                ++d;
            }
            const size_t c = d > i ? n_reuse_classes - 1
                                   : static_cast<size_t>(std::count_if(reuse_class_end.begin(), reuse_class_end.end(),
                                                                       [&](uint32_t end) { return d > end; }));
            reuse[c] += 1;
        }
    }
    EXPECT_EQ(b.reuse, reuse);
    EXPECT_GT(b.reuse[n_reuse_classes - 2], 0u);  // over 128 did occur
}

TEST(temporal, does_not_mix_sequences_that_have_no_ids) {
    routing_builder t({block_of(0, 4, 1)});
    // Two slots of a server, whose ids are not known, decoded together: no row has a known neighbour.
    for (int32_t i = 0; i < 5; ++i) {
        t.ubatch({{-1, 10 + i, -1, phase::decode, {{{0}}}}, {-1, 57 + i, -1, phase::decode, {{{1}}}}});
    }
    // The same, one ubatch each: positions do not follow, so nothing is taken for a neighbour.
    for (int32_t i = 0; i < 5; ++i) {
        t.token(-1, 20 + i, {{{0}}}).token(-1, 70 + i, {{{1}}});
    }
    temporal x;
    t.feed(x);
    EXPECT_EQ(x.result().rows_unknown, 10u);
    EXPECT_EQ(x.result().blocks[0].overlap[0].n(), 0u);
}

TEST(temporal, follows_one_sequence_that_has_no_ids) {
    routing_builder t({block_of(0, 4, 1)});  // as a log of positions alone has it
    t.ubatch({{-1, 0, -1, phase::prefill, {{{0}}}}, {-1, 1, -1, phase::prefill, {{{0}}}}})
        .token(-1, 2, {{{1}}})
        .token(-1, 0, {{{1}}});
    temporal x;
    t.feed(x);
    EXPECT_EQ(x.result().sequences, 2u);
    EXPECT_EQ(x.result().blocks[0].overlap[0].n(), 2u);
    EXPECT_NEAR(x.result().blocks[0].overlap[0].mean(), 0.5, 1e-12);
}

TEST(temporal, leaves_out_rows_of_unknown_place) {
    routing_builder t({block_of(0, 4, 1)});
    t.token(-1, -1, {{{1}}}).token(-1, -1, {{{1}}});
    temporal x;
    t.feed(x);
    EXPECT_EQ(x.result().rows_unknown, 2u);
    EXPECT_EQ(x.result().blocks[0].overlap[0].n(), 0u);
}

}  // namespace
