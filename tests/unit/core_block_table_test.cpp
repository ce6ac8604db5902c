#include "core/block_table.hpp"

#include <map>
#include <vector>

#include <gtest/gtest.h>

namespace moescope {
namespace {

block_layout block_at(int32_t layer, int32_t block, uint32_t n_expert = 8) {
    block_layout l{{layer, block}};
    l.n_expert = n_expert;
    return l;
}

TEST(block_id, goes_by_layer_then_block) {
    const std::vector<block_id> in_order = {{-1, 0}, {0, 0}, {0, 1}, {1, 0}, {2, 0}, {2, 1}, {10, 0}};
    for (size_t a = 0; a < in_order.size(); ++a) {
        for (size_t b = 0; b < in_order.size(); ++b) {
            EXPECT_EQ(in_order[a] < in_order[b], a < b);
            EXPECT_EQ(in_order[a] == in_order[b], a == b);
            EXPECT_EQ(in_order[a] != in_order[b], a != b);
        }
    }
}

TEST(block_id, is_what_two_layouts_of_one_block_share) {
    const block_layout a = block_at(3, 1, 8), b = block_at(3, 1, 16);
    EXPECT_EQ(a.id(), b.id());
    EXPECT_NE(a, b) << "the layouts differ in n_expert";
    std::map<block_id, int> by_id;
    by_id[a.id()] += 1;
    by_id[b.id()] += 1;
    EXPECT_EQ(by_id, (std::map<block_id, int>{{{3, 1}, 2}}));
}

TEST(find_block, finds_it_whatever_the_hint_says) {
    const graph_layout list = {block_at(0, 0), block_at(0, 1), block_at(4, 0)};
    for (size_t hint = 0; hint < 5; ++hint) {
        EXPECT_EQ(find_block(list, {0, 0}, hint), 0u);
        EXPECT_EQ(find_block(list, {0, 1}, hint), 1u);
        EXPECT_EQ(find_block(list, {4, 0}, hint), 2u);
        EXPECT_EQ(find_block(list, {1, 0}, hint), list.size());
        EXPECT_EQ(find_block(graph_layout(), {0, 0}, hint), 0u);
    }
}

TEST(block_table, keeps_one_value_for_a_block_and_sorts_them) {
    struct seen {
        explicit seen(const block_layout & l) : id(l) {}
        block_id id;
        int      times = 0;
    };
    block_table<seen> table;
    // Two graphs: the second lacks a block, so its hints are wrong.
    const graph_layout graphs[] = {{block_at(7, 0), block_at(2, 1), block_at(2, 0)}, {block_at(2, 1), block_at(2, 0)}};
    for (const graph_layout & g : graphs) {
        for (size_t i = 0; i < g.size(); ++i) {
            table.at(g[i], i).times += 1;
        }
    }
    ASSERT_EQ(table.size(), 3u);
    const std::vector<const seen *> sorted = table.sorted();
    EXPECT_EQ(sorted[0]->id, (block_id{2, 0}));
    EXPECT_EQ(sorted[1]->id, (block_id{2, 1}));
    EXPECT_EQ(sorted[2]->id, (block_id{7, 0}));
    EXPECT_EQ(sorted[0]->times, 2);
    EXPECT_EQ(sorted[2]->times, 1);
    EXPECT_EQ(table[0].id, (block_id{7, 0})) << "in order of appearance";
    EXPECT_EQ(table.index(block_at(2, 0), 0), 2u);
}

TEST(by_layer_and_block, orders_indices) {
    const graph_layout list = {block_at(5, 0), block_at(0, 1), block_at(0, 0)};
    const auto order = by_layer_and_block(list.size(), [&](size_t i) -> const block_layout & { return list[i]; });
    EXPECT_EQ(order, (std::vector<size_t>{2, 1, 0}));
}

}  // namespace
}  // namespace moescope
