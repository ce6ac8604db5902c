// What is held side by side of models of different shapes, by hand.

#include <gtest/gtest.h>

#include "analysis/shape_free.hpp"
#include "support/routing_builder.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;
using moescope::test::block_of;
using moescope::test::routing_builder;

TEST(shape_free, blocks_of_different_shapes_weigh_the_same) {
    // Layer 0 has 4 experts and selects 0, 0, 1; layer 2 has 2 experts and selects 1, 1, 1.
    routing_builder t({block_of(0, 4, 1), block_of(2, 2, 1)});
    t.token(0, 0, {{{0}}, {{1}}});
    t.token(0, 1, {{{0}}, {{1}}});
    t.token(0, 2, {{{1}}, {{1}}});
    shape_free s;
    t.feed(s);
    const shape_free_result r = s.result();
    EXPECT_EQ(r.tokens, 3);
    EXPECT_EQ(r.blocks, 2);
    EXPECT_EQ(r.experts, (4 + 2) / 2.0);
    EXPECT_EQ(r.k, 1);
    const double h = -(2 * std::log(2.0 / 3) + std::log(1.0 / 3)) / 3;  // of p = 2/3, 1/3
    EXPECT_NEAR(r.entropy, (h / std::log(4.0) + 0) / 2, 1e-12);
    // Σ_e Σ_f |c_e − c_f| / (2 E Σ c): counts 2, 1, 0, 0 give 14 / 24, counts 0, 3 give 6 / 12.
    EXPECT_NEAR(r.gini, (14.0 / 24 + 6.0 / 12) / 2, 1e-12);
    EXPECT_NEAR(r.held, (2.0 / 4 + 1.0 / 2) / 2, 1e-12);  // 90 % needs both of layer 0's experts, one of layer 2's
    EXPECT_NEAR(r.dead, (2 + 1) / 6.0, 1e-12);
    EXPECT_NEAR(r.overlap, (1.0 / 2 + 1) / 2, 1e-12);  // of two pairs of neighbours each
    EXPECT_NEAR(r.random, (1.0 / 3 + 1) / 2, 1e-12);   // of three pairs each, one and all are alike
}

TEST(shape_free, of_an_empty_trace_counts_are_zero_and_the_rest_is_unknown) {
    const shape_free_result r = shape_free().result();
    EXPECT_EQ(r.tokens, 0);
    EXPECT_EQ(r.blocks, 0);
    for (const double x : {r.experts, r.k, r.entropy, r.gini, r.held, r.dead, r.overlap, r.random}) {
        EXPECT_TRUE(std::isnan(x));
    }
}

}  // namespace
