// Placement: budgets and choices worked by hand.

#include <gtest/gtest.h>

#include "analysis/placement.hpp"
#include "core/error.hpp"
#include "support/routing_builder.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;
using moescope::test::block_of;
using moescope::test::routing_builder;

// Three layers of four experts, 100 bytes each layer; two sequences are decoded together.
model_memory three_layers() {
    model_memory m;
    m.layers  = {{0, 100, 4}, {1, 100, 4}, {2, 100, 4}};
    m.dense   = 50;
    m.kv      = 20;
    m.compute = 30;
    return m;
}

// Layer 2 reads one expert for both sequences, the others two.
expert_reads shared_last_layer(int n) {
    routing_builder t({block_of(0, 4, 1), block_of(1, 4, 1), block_of(2, 4, 1)});
    for (int32_t i = 0; i < n; ++i) {
        t.ubatch({{-1, i, 0, phase::decode, {{{0}}, {{1}}, {{3}}}}, {-1, i, 1, phase::decode, {{{2}}, {{3}}, {{3}}}}});
    }
    expert_reads reads;
    t.feed(reads);
    return reads;
}

TEST(placement, gives_the_gpu_to_the_layers_that_read_most) {
    const placement_result r = advise_placement(three_layers(), shared_last_layer(200), 300);
    EXPECT_EQ(r.budget, 200u);
    EXPECT_EQ(r.advised.on_gpu, (std::vector<int32_t>{0, 1}));
    EXPECT_EQ(r.naive.on_cpu, (std::vector<int32_t>{0}));  // --n-cpu-moe 1
    EXPECT_EQ(r.n_cpu_moe, 1u);
    // An expert is 25 bytes; two tokens per ubatch. Layer 2 on the CPU: 25 / 2; layer 0: 50 / 2.
    EXPECT_NEAR(r.advised.cpu_bytes_per_token, 12.5, 1e-12);
    EXPECT_NEAR(r.naive.cpu_bytes_per_token, 25, 1e-12);
    EXPECT_NEAR(r.saving, 0.5, 1e-12);
    EXPECT_TRUE(r.preferred);
}

TEST(placement, has_no_preference_where_layers_read_alike) {
    routing_builder t({block_of(0, 4, 1), block_of(1, 4, 1), block_of(2, 4, 1)});
    for (int32_t i = 0; i < 200; ++i) {
        t.token(0, i, {{{0}}, {{1}}, {{3}}});
    }
    expert_reads reads;
    t.feed(reads);
    const placement_result r = advise_placement(three_layers(), reads, 300);
    EXPECT_FALSE(r.preferred);
    EXPECT_EQ(r.advised.on_cpu, r.naive.on_cpu);
    EXPECT_EQ(r.saving, 0);
}

TEST(placement, says_when_all_or_nothing_fits) {
    const expert_reads reads = shared_last_layer(3);
    EXPECT_TRUE(advise_placement(three_layers(), reads, 400).all_fits);
    const placement_result none = advise_placement(three_layers(), reads, 120);
    EXPECT_TRUE(none.nothing_fits);
    EXPECT_EQ(none.n_cpu_moe, 3u);
    EXPECT_EQ(advise_placement(three_layers(), reads, 10).budget, 0u);
}

TEST(placement, refuses_another_model) {
    model_memory m = three_layers();
    m.layers.pop_back();
    EXPECT_THROW(advise_placement(m, shared_last_layer(3), 300), error);
}

}  // namespace
