// Frequencies and balance: against hand-worked cases, formulas, and what must hold for any routing.

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "analysis/frequency.hpp"
#include "analysis/tools/balance.hpp"
#include "core/random_stream.hpp"
#include "support/routing_builder.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;
using moescope::test::block_of;
using moescope::test::routing_builder;

TEST(balance, of_even_counts_is_perfect) {
    const std::vector<uint64_t> c(8, 5);
    const balance               b = measure_balance(c);
    EXPECT_EQ(b.selections, 40u);
    EXPECT_EQ(b.dead, 0);
    EXPECT_NEAR(b.entropy, 1, 1e-12);
    EXPECT_NEAR(b.gini, 0, 1e-12);
    EXPECT_NEAR(b.max_vio, 0, 1e-12);
    EXPECT_EQ(b.coverage[0], 4);  // 50 % of 8
    EXPECT_EQ(b.coverage[1], 7);  // 80 % of 8 is 6.4
    EXPECT_EQ(b.coverage[3], 8);
}

TEST(balance, of_a_small_case_worked_by_hand) {
    // p = 1/2, 1/4, 1/4, 0; H = 1/2 ln 2 + 2 · 1/4 ln 4 = 3/2 ln 2; over ln 4: 3/4.
    // Gini: Σ|ci − cj| over ordered pairs = 2 (1 + 1 + 2 + 0 + 1 + 1) · 1 = 12; / (2 · 4 · 4) = 3/8.
    const std::vector<uint64_t> c = {1, 0, 2, 1};
    const balance               b = measure_balance(c);
    EXPECT_EQ(b.dead, 1);
    EXPECT_NEAR(b.entropy, 0.75, 1e-12);
    EXPECT_NEAR(b.gini, 0.375, 1e-12);
    EXPECT_NEAR(b.max_vio, 1, 1e-12);  // (2 − 1) / 1
    EXPECT_EQ(b.coverage[0], 1);
    EXPECT_EQ(b.coverage[1], 3);  // 80 % of 4 is 3.2: three experts
}

TEST(balance, of_nothing_is_unknown) {
    const balance b = measure_balance(std::vector<uint64_t>(4));
    EXPECT_EQ(b.dead, 4);
    EXPECT_TRUE(std::isnan(b.entropy) && std::isnan(b.gini) && std::isnan(b.max_vio) && std::isnan(b.coverage[0]));
    EXPECT_TRUE(std::isnan(balance_by_chance(0, 2, 8).p_dead));
}

TEST(balance, one_expert_is_balanced) {
    const balance b = measure_balance(std::vector<uint64_t>{7});
    EXPECT_EQ(b.entropy, 1);
    EXPECT_EQ(b.max_vio, 0);
    EXPECT_EQ(b.coverage[3], 1);
}

TEST(balance, chance_of_a_dead_expert_is_the_formula) {
    const balance_chance c = balance_by_chance(10, 2, 8);
    EXPECT_NEAR(c.p_dead, std::pow(0.75, 10), 1e-12);
    EXPECT_NEAR(c.mean.dead, 8 * std::pow(0.75, 10), 1e-12);
}

// To second order the entropy of the counts falls short of 1 by Σ Var(c_e) / (2 mean · Σc) / ln E
// = (E − k) / (2 N k ln E), for both ways of drawing.
TEST(balance, chance_entropy_follows_the_delta_method) {
    for (const uint64_t rows : {2'000u, 200'000u}) {
        const uint32_t k = 4, n = 32;
        const double   deficit = (n - k) / (2.0 * double(rows) * k * std::log(double(n)));
        EXPECT_NEAR((1 - balance_by_chance(rows, k, n).mean.entropy) / deficit, 1, 0.1) << rows;
    }
}

// Of two experts and k = 1 the busier one leads by |2c − N|, whose mean is √(2N/π); Gini is then half of MaxVio, and 80 % take
// both. Both ways of drawing.
TEST(balance, chance_of_two_experts_is_that_of_a_coin) {
    for (const uint64_t rows : {10'000u, 400'000u}) {
        const balance lead = balance_by_chance(rows, 1, 2).mean;
        const double  mean = std::sqrt(2 / (3.14159265358979 * double(rows)));
        EXPECT_NEAR(lead.max_vio / mean, 1, 0.25) << rows;  // 100 draws of a half-normal: sd of the mean 7.6 %
        EXPECT_NEAR(lead.gini, lead.max_vio / 2, 1e-12);
        EXPECT_NEAR(lead.coverage[0], 1, 1e-12);
        EXPECT_NEAR(lead.coverage[1], 2, 1e-12);
    }
}

// The mean difference of two normal counts of variance s² and correlation −1/(E − 1) is 2s√(E/((E − 1)π)).
TEST(balance, chance_gini_is_that_of_normal_counts) {
    const double n = 64, k = 4, rows = 100'000;
    const double mean = rows * k / n, s = std::sqrt(rows * k / n * (1 - k / n));
    const double gini = (n - 1) / n * s * std::sqrt(n / ((n - 1) * 3.14159265358979)) / mean;
    EXPECT_NEAR(balance_by_chance(100'000, 4, 64).mean.gini / gini, 1, 0.03);
}

TEST(balance, chance_of_all_experts_every_row_is_perfect) {
    const balance_chance c = balance_by_chance(50, 4, 4);
    EXPECT_NEAR(c.mean.entropy, 1, 1e-12);
    EXPECT_NEAR(c.mean.gini, 0, 1e-12);
    EXPECT_EQ(c.p_dead, 0);
}

TEST(wilson, agrees_with_its_definition) {
    // The bounds p solve (p̂ − p)² = z² p (1 − p) / n.
    const interval i = wilson(3, 20);
    for (const double p : {i.low, i.high}) {
        EXPECT_NEAR(std::pow(0.15 - p, 2), std::pow(1.959963984540054, 2) * p * (1 - p) / 20, 1e-12);
    }
    EXPECT_LT(i.low, 0.15);
    EXPECT_GT(i.high, 0.15);
    EXPECT_TRUE(std::isnan(wilson(0, 0).low));
    EXPECT_EQ(wilson(0, 10).low, 0);
}

TEST(frequency, counts_rows_of_both_phases_apart) {
    routing_builder t({block_of(0, 4, 2), block_of(3, 8, 1)});  // layers with different k and n_expert
    t.ubatch({{10, 0, 0, phase::prefill, {{{0, 1}}, {}}}, {11, 1, 0, phase::prefill, {{{1, 2}}, {{7}}}}});
    t.token(0, 2, {{{1, 3}}, {{7}}});
    frequency f;
    t.feed(f);
    const frequency_result r = f.result();
    ASSERT_EQ(r.blocks.size(), 2u);
    EXPECT_EQ(r.tokens, 3u);
    EXPECT_EQ(r.decoded, 1u);
    EXPECT_EQ(r.blocks[0].total, (std::vector<uint64_t>{1, 3, 1, 1}));
    EXPECT_EQ(r.blocks[0].count[size_t(row_kind::decode)], (std::vector<uint64_t>{0, 1, 0, 1}));
    EXPECT_EQ(r.blocks[0].rows[size_t(row_kind::prefill)], 2u);
    EXPECT_EQ(r.blocks[1].n_rows, 2u);
    EXPECT_EQ(r.blocks[1].total[7], 2u);
    EXPECT_EQ(r.by_id, (std::vector<uint64_t>{1, 3, 1, 1, 0, 0, 0, 2}));
    EXPECT_EQ(r.n_dead(), 7u);
    EXPECT_NEAR(r.blocks[0].share(1), 0.5, 1e-12);
    const interval of_rows = wilson(3, 3);
    EXPECT_NEAR(r.blocks[0].share_interval(1).low, of_rows.low / 2, 1e-12);
}

TEST(frequency, shares_sum_to_one_for_any_id_width) {
    for (const uint32_t n : {16u, 300u, 70'000u}) {
        routing_builder t({block_of(0, n, 3)});
        random_stream   random(n);
        for (int i = 0; i < 50; ++i) {
            const uint32_t first = random.below(n);
            t.token(0, i, {{{first, (first + 1) % n, (first + 2) % n}}});
        }
        frequency f;
        t.feed(f);
        const frequency_result r   = f.result();
        double                 sum = 0;
        for (uint32_t e = 0; e < n; ++e) {
            sum += r.blocks[0].share(e);
        }
        EXPECT_NEAR(sum, 1, 1e-12) << n;
        EXPECT_EQ(r.selections(), 150u);
        EXPECT_EQ(r.invalid_ids, 0u);
    }
}

TEST(frequency, leaves_out_ids_that_are_no_experts) {
    for (const uint32_t n : {10u, 1'000u, 70'000u}) {
        routing_builder t({block_of(0, n, 2)});
        t.token(0, 0, {{{1, n}}});  // fits the id's bytes, but is no expert
        frequency f;
        t.feed(f);
        EXPECT_EQ(f.result().invalid_ids, 1u) << n;
        EXPECT_EQ(f.result().selections(), 1u) << n;
    }
}

TEST(frequency, measures_the_routers_probabilities) {
    routing_builder t({block_of(0, 4, 1, column::ids | column::probs)});
    t.token(0, 0, {{{0}, {}, {0.25f, 0.25f, 0.25f, 0.25f}}});
    t.token(0, 1, {{{0}, {}, {2.0f, 1.0f, 0.0f, 1.0f}}});   // sigmoid-like: scaled to 1/2, 1/4, 0, 1/4
    t.token(0, 2, {{{0}, {}, {-1.0f, 1.0f, 0.0f, 1.0f}}});  // cannot be probabilities
    frequency f;
    t.feed(f);
    const frequency_result r = f.result();
    EXPECT_EQ(r.bad_probs, 1u);
    EXPECT_EQ(r.blocks[0].router_entropy.n(), 2u);
    EXPECT_NEAR(r.blocks[0].router_entropy.mean(), (1 + 0.75) / 2, 1e-7);
    EXPECT_NEAR(r.blocks[0].top1_margin.mean(), (0 + 0.25) / 2, 1e-7);
}

TEST(frequency, of_counts_alone_is_that_of_the_rows) {
    routing_builder t({block_of(1, 4, 2), block_of(0, 4, 2)});
    t.token(0, 0, {{{0, 1}}, {{2, 3}}});
    t.token(0, 1, {{{0, 2}}, {{2, 1}}});
    frequency f;
    t.feed(f);
    struct count_sink : routing_sink {
        expert_counts counts;
        void          ubatch(const routed_ubatch & u) override { counts.add(u); }
    } counted;
    t.feed(counted);
    const frequency_result a = f.result(), b = frequency_of(counted.counts);
    ASSERT_EQ(b.blocks.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
        EXPECT_EQ(a.blocks[i].layout.layer, b.blocks[i].layout.layer);
        EXPECT_EQ(a.blocks[i].total, b.blocks[i].total);
        EXPECT_EQ(a.blocks[i].measured.gini, b.blocks[i].measured.gini);
        EXPECT_EQ(a.blocks[i].chance.mean.entropy, b.blocks[i].chance.mean.entropy);
    }
}

TEST(frequency, of_nothing_has_no_blocks) {
    frequency f;
    EXPECT_TRUE(f.result().blocks.empty());
    EXPECT_EQ(f.result().selections(), 0u);
}

}  // namespace
