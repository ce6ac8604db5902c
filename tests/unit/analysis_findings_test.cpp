// What stands out is what random routing would not show: limits against sums by hand, and silence about even routing.

#include <cmath>

#include <gtest/gtest.h>

#include "analysis/findings.hpp"
#include "core/random_stream.hpp"
#include "support/routing_builder.hpp"

namespace moescope::analysis {
namespace {

TEST(findings, binomial_limit_is_the_first_count_whose_tail_is_below) {
    // Of 4 fair coins: P(4) = 1/16, P(>= 3) = 5/16, P(>= 2) = 11/16.
    EXPECT_EQ(binomial_limit(4, 0.5, 0.05), 5u);
    EXPECT_EQ(binomial_limit(4, 0.5, 0.07), 4u);
    EXPECT_EQ(binomial_limit(4, 0.5, 0.32), 3u);
    EXPECT_EQ(binomial_limit(4, 0.5, 0.70), 2u);
    // Normal limit beyond a variance of 10,000: mean 50,000, sd 158.1, Φ(2.326) = 0.99.
    EXPECT_NEAR(double(binomial_limit(100'000, 0.5, 0.01)), 50'000 + 2.3263 * 158.11, 1.5);
}

// Rows of k = 2 of 8 experts in two layers.
summary_result summary_of_rows(size_t n, uint32_t (*first)(size_t row, uint32_t layer, random_stream & random)) {
    random_stream random(7);
    expert_counts counts;
    for (int32_t layer = 0; layer < 2; ++layer) {
        block_layout l;
        l.layer         = layer;
        l.n_expert      = 8;
        l.n_expert_used = 2;
        counts.layout.push_back(l);
        counts.blocks.emplace_back();
        auto & b = counts.blocks.back();
        b.rows   = n;
        b.count.assign(8, 0);
        for (size_t row = 0; row < n; ++row) {
            const uint32_t e = first(row, static_cast<uint32_t>(layer), random);
            b.count[e] += 1;
            b.count[(e + 1 + random.below(7)) % 8] += 1;
        }
    }
    return summary_of(counts);
}

TEST(findings, even_routing_says_nothing) {
    const auto even  = [](size_t, uint32_t, random_stream & random) { return static_cast<uint32_t>(random.below(8)); };
    const findings f = find(summary_of_rows(400, even));
    EXPECT_FALSE(f.leans || f.never_used || f.lru || f.repeats || f.phases);
}

TEST(findings, a_layer_that_leans_is_named_with_its_share) {
    const auto planted = [](size_t row, uint32_t layer, random_stream & random) {
        return layer == 1 && row % 2 == 0 ? 5u : static_cast<uint32_t>(random.below(8));
    };
    const summary_result s = summary_of_rows(400, planted);
    const findings       f = find(s);
    ASSERT_TRUE(f.leans);
    EXPECT_EQ(f.leans->layout.layer, 1);
    EXPECT_EQ(f.leans->expert, 5u);
    EXPECT_DOUBLE_EQ(f.leans->vs_balance, double(s.frequency.blocks[1].total[5]) / (400 * 2.0 / 8));
    EXPECT_GT(f.leans->vs_balance, f.leans->limit);
}

TEST(findings, experts_that_nobody_uses) {
    const auto     planted = [](size_t row, uint32_t, random_stream &) { return static_cast<uint32_t>(row % 3); };
    summary_result s       = summary_of_rows(60, planted);
    for (auto & b : s.frequency.blocks) {
        b.total.assign(8, 20);
        b.total[7] = 0;
        b.measured = measure_balance(b.total);
    }
    const findings f = find(s);
    ASSERT_TRUE(f.never_used);
    EXPECT_EQ(f.never_used->measured, 2);
    EXPECT_NEAR(f.never_used->chance, 2 * 8 * std::pow(0.75, 60), 1e-9);
}

TEST(findings, measures_of_order_stand_out_from_a_tenth_on) {
    summary_result s;
    s.lru_hits = 0.64, s.lru_hits_chance = 0.29;
    s.overlap_next = 0.344, s.overlap_by_popularity = 0.306;
    s.phase_distance = 0.62, s.phase_distance_chance = 0.5;
    const findings f = find(s);
    ASSERT_TRUE(f.lru && f.phases);
    EXPECT_EQ(f.lru->measured, 0.64);
    EXPECT_FALSE(f.repeats);
    EXPECT_FALSE(f.leans || f.never_used);
}

}  // namespace
}  // namespace moescope::analysis
