#include "core/error.hpp"
#include "core/random_stream.hpp"
#include "prune/hope.hpp"
#include "prune/profile_scores.hpp"
#include "stats/merge.hpp"

#include <gtest/gtest.h>

using namespace moescope;

namespace {

using list = std::vector<double>;

// Random sums of one layer of n experts.
stats::saliency_block random_block(uint32_t n, uint64_t seed) {
    random_stream         random(seed);
    stats::saliency_block b;
    b.layer = 2, b.n_expert = n, b.n_expert_used = 2, b.rows = 100;
    b.count.assign(n, 10);
    for (const auto sum : stats::all_expert_sums) {
        for (uint32_t e = 0; e < n; ++e) {
            (b.*sum).push_back(random.uniform());
        }
    }
    b.max_norm.resize(n);
    b.pair_count.assign(stats::n_pairs(n), 5);
    for (size_t i = 0; i < stats::n_pairs(n); ++i) {
        b.pair_product.push_back(random.uniform());
    }
    return b;
}

// Q by its definition, from the block's sums.
double objective(const stats::saliency_block & b, const std::vector<bool> & gone) {
    double q = 0;
    for (size_t i = 0; i < b.n_expert; ++i) {
        for (size_t j = 0; j < b.n_expert; ++j) {
            if (gone[i] && gone[j]) {
                q += i == j ? b.gated_squared[i] / double(b.count[i])
                            : b.pair_product[stats::pair_index(i, j, b.n_expert)] /
                                  double(b.pair_count[stats::pair_index(i, j, b.n_expert)]);
            }
        }
    }
    return q;
}

// Two labels: expert 0 serves only the first, 1 only the second, 2 a little of both, 3 nearly nobody.
stats::moestats labelled() {
    stats::saliency_block b;
    b.layer = 0, b.n_expert = 4, b.n_expert_used = 1, b.rows = 20;
    b.count       = {5, 5, 5, 5};
    b.label_rows  = {10, 10};
    b.label_count = {5, 0, 3, 2, 0, 5, 2, 3};
    for (const auto sum : stats::all_expert_sums) {
        b.*sum            = {7, 5, 6, 2};
        b.label_sums.*sum = {60, 0, 30, 10, 0, 5, 3, 2};
    }
    stats::moestats s;
    s.labels = {"a", "b"};
    s.blocks = {b};
    return s;
}

list scores(const stats::moestats & s, prune::score_request r) {
    return prune::scores_of_profile(s, "s.moestats", r).layers.at(0);
}

}  // namespace

TEST(pair_index, numbers_each_pair_once) {
    size_t expected = 0;
    for (size_t a = 0; a < 7; ++a) {
        for (size_t b = a + 1; b < 7; ++b) {
            EXPECT_EQ(stats::pair_index(a, b, 7), expected);
            EXPECT_EQ(stats::pair_index(b, a, 7), expected++);
        }
    }
    EXPECT_EQ(stats::n_pairs(7), expected);
}

TEST(hope, no_swap_makes_its_choice_better) {
    gguf::moe_shape shape;
    shape.n_expert = 10;
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        const auto        b    = random_block(10, seed);
        const list        kept = prune::solve_hope(prune::hope_objective(b), shape, 6, std::vector<bool>(10));
        std::vector<bool> gone(10);
        for (size_t e = 0; e < 10; ++e) {
            gone[e] = kept[e] == 0;
        }
        ASSERT_EQ(std::count(gone.begin(), gone.end(), true), 4);
        const double q = objective(b, gone);
        for (size_t i = 0; i < 10; ++i) {
            for (size_t j = 0; j < 10; ++j) {
                if (gone[i] && !gone[j]) {
                    std::vector<bool> swapped = gone;
                    swapped[i] = false, swapped[j] = true;
                    EXPECT_GE(objective(b, swapped), q - 1e-9) << seed;
                }
            }
        }
        std::vector<int32_t> ids;
        for (int32_t e = 0; e < 10; ++e) {
            if (!gone[static_cast<size_t>(e)]) {
                ids.push_back(e);
            }
        }
        EXPECT_NEAR(prune::hope_objective(b).of_plan(ids), q, 1e-9);
    }
}

TEST(hope, groups_lose_equally_and_what_is_protected_stays) {
    gguf::moe_shape shape;
    shape.n_expert = 8, shape.n_expert_groups = 2, shape.n_group_used = 1;
    std::vector<bool> is_protected(8);
    is_protected[1] = is_protected[6] = true;
    const list kept = prune::solve_hope(prune::hope_objective(random_block(8, 3)), shape, 4, is_protected);
    EXPECT_EQ(kept[0] + kept[1] + kept[2] + kept[3], 2);
    EXPECT_EQ(kept[1] + kept[6], 2);
}

TEST(balance, labels_count_the_same_however_many_rows_they_have) {
    const auto r = [](prune::label_balance b) { return prune::score_request{prune::prune_criterion::removal, b}; };
    EXPECT_EQ(scores(labelled(), r(prune::label_balance::rows)), (list{7, 5, 6, 2}));
    const list both = scores(labelled(), r(prune::label_balance::labels));
    const list want = {0.6, 0.5, 0.3 + 0.3, 0.1 + 0.2};
    for (size_t e = 0; e < 4; ++e) {
        EXPECT_DOUBLE_EQ(both[e], want[e]);
    }
}

// Shares lost after taking out 3: 0.1, 0.2. Then 2 leads to 0.4, 0.5; 1 to 0.1, 0.7; 0 to 0.7, 0.2. Then 1: 0.4, 1; 0: 1, 0.5: a tie of
// the worst, and 1 costs less in all (0.5 against 0.6).
TEST(balance, worst_takes_out_what_the_worst_off_label_misses_least) {
    EXPECT_EQ(scores(labelled(), {prune::prune_criterion::removal, prune::label_balance::worst}), (list{3, 2, 1, 0}));
}

TEST(masked_experts, go_first) {
    stats::moestats s = labelled();
    s.options         = {{"mask", "omit 0:0"}};
    const list got    = scores(s, {prune::prune_criterion::removal});
    EXPECT_LT(got[0], *std::min_element(got.begin() + 1, got.end()));
}

TEST(super_experts, are_those_with_extreme_outputs) {
    stats::moestats s = labelled();
    EXPECT_THROW(prune::super_experts(s, "s"), usage_error);
    s.blocks[0].n_expert = 1000;
    s.blocks[0].peak.assign(1000, 1);
    s.blocks[0].peak[17] = 50, s.blocks[0].peak[18] = 4;
    EXPECT_EQ(prune::super_experts(s, "s"), (prune::expert_ids_by_layer{{0, {17}}}));  // 4 is below a tenth of 50
}

TEST(moestats_version_2, keeps_every_sum) {
    stats::moestats s = labelled();
    s.blocks[0].max_norm.resize(4);
    s.blocks[0].peak           = {1, 2, 3, 4};
    s.blocks[0].pair_count     = {1, 2, 3, 4, 5, 6};
    s.blocks[0].pair_product   = {6, 5, 4, 3, 2, 1};
    s.shape_fingerprint        = 77;
    const stats::moestats back = stats::decode_moestats(stats::encode_moestats(s), "bytes");
    EXPECT_EQ(back.shape_fingerprint, 77u);
    for (const auto sum : stats::all_expert_sums) {
        EXPECT_EQ(back.blocks[0].*sum, s.blocks[0].*sum);
        EXPECT_EQ(back.blocks[0].label_sums.*sum, s.blocks[0].label_sums.*sum);
    }
    EXPECT_EQ(back.blocks[0].peak, s.blocks[0].peak);
    EXPECT_EQ(back.blocks[0].pair_count, s.blocks[0].pair_count);
    EXPECT_EQ(back.blocks[0].pair_product, s.blocks[0].pair_product);
    EXPECT_EQ(stats::encode_moestats(back), stats::encode_moestats(s));
}
