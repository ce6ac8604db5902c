// Every invariant fails where it is violated, and only there.

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "check/check.hpp"
#include "support/trace_kit.hpp"

namespace moescope::trace {
namespace {

using namespace test;

// Writes the plan with one thing changed and returns the names of the findings, "name@layer".
std::vector<std::string> names_after(
    const std::function<void(graph_layout &, std::vector<planted::ubatch_data> &)> & change) {
    planted::plan p;
    p.n_expert            = 18;  // 18 = 4 * 4 + 2: the misread windows do not end with a row
    p.n_prompt            = 12;
    p.n_ubatch            = 12;
    p.last_only           = false;
    graph_layout layout   = planted::layout_of(p);
    auto         ubatches = planted::make_ubatches(p, layout);
    change(layout, ubatches);
    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    path = folder / "x.moetrace";
    {
        trace_writer writer(path, {}, {});
        planted::feed(p, ubatches, writer);
        writer.finish({"finished"});
    }
    std::vector<std::string> names;
    for (const check::finding & f : check::check_trace(path).findings) {
        names.push_back(f.name + "@" + std::to_string(f.layer));
    }
    return names;
}

using strings = std::vector<std::string>;

float & value(std::vector<planted::ubatch_data> & u, column column, size_t block, size_t i) {
    return u[0].owner.values(block, column_index(column))[i];
}

uint8_t * ids(std::vector<planted::ubatch_data> & u, size_t block) {  // 18 experts: one byte each
    return static_cast<uint8_t *>(u[0].owner.ids(block));
}

TEST(trace_check, a_correct_trace_has_no_findings) {
    EXPECT_EQ(names_after([](auto &, auto &) {}), strings{});
}

TEST(trace_check, names_repeated_ids) {
    EXPECT_EQ(names_after([](auto &, auto & u) { ids(u, 1)[5] = ids(u, 1)[4]; }),
              (strings{"ids-distinct@2", "ids-topk@2"}));
}

TEST(trace_check, repeated_ids_are_fine_where_the_layout_says_so) {
    EXPECT_EQ(names_after([](auto & layout, auto & u) {
                  layout[1].flags |= block_layout::ids_repeat;
                  ids(u, 1)[5] = ids(u, 1)[4];
              }),
              strings{});
}

TEST(trace_check, names_ids_that_are_not_the_top_k) {
    EXPECT_EQ(names_after([](auto &, auto & u) {  // swap the last selected for the first that was not
                  ids(u, 0)[3] = static_cast<uint8_t>((ids(u, 0)[3] + 1) % 18);
              }),
              strings{"ids-topk@1"});
    EXPECT_EQ(names_after([](auto & layout, auto & u) {  // a hash-routed layer chooses nothing
                  layout[0].flags |= block_layout::given_ids;
                  ids(u, 0)[3] = static_cast<uint8_t>((ids(u, 0)[3] + 1) % 18);
              }),
              strings{});
}

TEST(trace_check, equal_scores_may_go_either_way) {
    EXPECT_EQ(names_after([](auto &, auto & u) {
                  const uint8_t last = ids(u, 0)[3], next = static_cast<uint8_t>((last + 1) % 18);
                  value(u, column::selection, 0, next) = value(u, column::selection, 0, last);
                  ids(u, 0)[3]                         = next;
              }),
              strings{});
}

TEST(trace_check, names_weights_that_do_not_add_up) {
    EXPECT_EQ(names_after([](auto &, auto & u) { value(u, column::weights, 2, 0) += 0.01f; }),
              strings{"weights-sum@3"});
    EXPECT_EQ(names_after([](auto & layout, auto & u) {
                  layout[2].weight_sum = 0;  // not normalised
                  value(u, column::weights, 2, 0) += 0.01f;
              }),
              strings{});
}

TEST(trace_check, names_values_that_are_not_finite) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(names_after([&](auto &, auto & u) { value(u, column::weights, 0, 1) = nan; }),
              strings{"weights-finite@1"});
    EXPECT_EQ(names_after([&](auto &, auto & u) { value(u, column::norms, 0, 1) = HUGE_VALF; }),
              strings{"values-finite@1"});
    EXPECT_EQ(names_after([&](auto &, auto & u) { value(u, column::norms, 0, 1) = -1; }), strings{"norms-negative@1"});
    EXPECT_EQ(names_after([&](auto &, auto & u) {  // experts outside the chosen groups are masked
                  const uint8_t worst                   = static_cast<uint8_t>((ids(u, 0)[0] + 17) % 18);
                  value(u, column::selection, 0, worst) = -HUGE_VALF;
              }),
              strings{});
}

TEST(trace_check, names_counts_that_do_not_add_up) {
    planted::plan      p;
    const graph_layout layout   = planted::layout_of(p);
    const auto         ubatches = planted::make_ubatches(p, layout);
    expert_counts      counts;
    for (const auto & u : ubatches) {
        counts.add(u.view);
    }
    check::invariant_check good;
    good.add(counts);
    EXPECT_TRUE(good.finish().empty());

    counts.blocks[1].count[3] += 1;
    check::invariant_check bad;
    bad.add(counts);
    const auto found = bad.finish();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].name, "counts-sum");
    EXPECT_EQ(found[0].layer, 2);
}

// ---- the contiguous misread --------------------------------------------------------------------------------------

struct shuffler {
    uint64_t state = 12345;
    uint32_t below(uint32_t n) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>((state >> 33) % n);
    }
    std::vector<uint8_t> permutation(uint32_t n) {
        std::vector<uint8_t> p(n);
        std::iota(p.begin(), p.end(), uint8_t(0));
        for (uint32_t i = n; i > 1; --i) {
            std::swap(p[i - 1], p[below(i)]);
        }
        return p;
    }
};

// The argsorts of n_rows tokens, read with their strides or as if they lay densely.
check::misread_test test_of(uint32_t n_expert, uint32_t k, uint32_t n_rows, bool contiguous, int n_ubatches) {
    block_layout l;
    l.n_expert      = n_expert;
    l.n_expert_used = k;
    l.columns       = column::ids;
    shuffler            random;
    check::misread_test test;
    for (int i = 0; i < n_ubatches; ++i) {
        std::vector<uint8_t> argsort;
        for (uint32_t r = 0; r < n_rows; ++r) {
            const auto row = random.permutation(n_expert);
            argsort.insert(argsort.end(), row.begin(), row.end());
        }
        std::vector<uint8_t> ids;
        for (uint32_t r = 0; r < n_rows; ++r) {
            const auto at = argsort.begin() + r * (contiguous ? k : n_expert);
            ids.insert(ids.end(), at, at + k);
        }
        block_rows b;
        b.layout = &l;
        b.n_rows = n_rows;
        b.ids    = ids.data();
        test.add(b);
    }
    return test;
}

TEST(contiguous_misread, is_found_in_every_shape) {
    for (const auto & [n_expert, k] :
         std::vector<std::pair<uint32_t, uint32_t>>{{16, 4}, {64, 8}, {128, 8}, {60, 4}, {160, 6}, {32, 4}}) {
        const check::misread_test wrong = test_of(n_expert, k, 128, true, 1),
                                  right = test_of(n_expert, k, 128, false, 1);
        EXPECT_EQ(wrong.partitions(), wrong.windows()) << n_expert;
        EXPECT_GT(wrong.windows(), 0u);
        EXPECT_LT(wrong.log10_chance(), -6) << n_expert << " " << k;
        EXPECT_GT(right.log10_chance(), -6) << n_expert << " " << k;
    }
}

// 8 experts, top-1 and top-2, partition by chance now and then: many correct windows must not be called a misread.
TEST(contiguous_misread, chance_is_not_called_one) {
    for (const uint32_t k : {1u, 2u}) {
        const check::misread_test test = test_of(8, k, 512, false, 200);
        EXPECT_GT(test.partitions(), 0u) << "the test must see some";
        EXPECT_GT(test.log10_chance(), -3);
        const double deviation = std::sqrt(test.expected());
        EXPECT_NEAR(double(test.partitions()), test.expected(), 5 * deviation) << "the chance model is exact here";
    }
}

TEST(contiguous_misread, small_layers_say_nothing) {
    EXPECT_EQ(test_of(8, 3, 512, true, 1).windows(), 0u);
}

// A foreign log may hold gate inputs alone: no experts, no selections.
TEST(trace_check, gate_inputs_alone_are_fine) {
    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    path = folder / "gates.csv";
    spill(path, "gate_input,0,0,1 2\ngate_input,0,1,3 4\n");
    EXPECT_TRUE(check::check_trace(path).findings.empty());
}

TEST(contiguous_misread, chance_of_disjoint_rows_is_counted_right) {
    EXPECT_NEAR(check::chance_disjoint(8, 2, 4), 2520.0 / (28.0 * 28 * 28 * 28),
                1e-12);  // 8! / 2!^4 partitions, 28 pairs each
    EXPECT_NEAR(check::chance_disjoint(4, 1, 4), 24.0 / 256, 1e-12);
    EXPECT_NEAR(check::chance_disjoint(6, 2, 2), 6.0 / 15, 1e-12);  // the second pair avoids the first
}

TEST(contiguous_misread, is_a_finding_of_check) {
    const auto names = names_after([](auto & layout, auto & u) {
        shuffler random;
        for (block_layout & l : layout) {
            l.columns = l.columns.without(column::selection);
        }
        std::vector<uint8_t> misread;
        while (misread.size() < 12 * 4) {
            const auto row = random.permutation(18);
            misread.insert(misread.end(), row.begin(), row.end());
        }
        std::copy_n(misread.begin(), 12 * 4, ids(u, 1));
        for (auto & ubatch : u) {
            for (auto & b : ubatch.blocks) {
                b.values[4] = nullptr;
            }
        }
    });
    ASSERT_FALSE(names.empty());
    EXPECT_EQ(names.back(), "contiguous-misread@2");
}

}  // namespace
}  // namespace moescope::trace
