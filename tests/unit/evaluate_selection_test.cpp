// Which selections a change displaces: counted by hand on two small graphs.

#include <gtest/gtest.h>

#include "evaluate/selection_log.hpp"

namespace {

using namespace moescope;
using namespace moescope::evaluate;

// One ubatch of three tokens (sequences 0, 0, 1) through blocks of 8 experts, top-2; layer 1 has the rows of tokens 1 and 2.
void route(selection_log & log, const std::vector<uint8_t> & layer0, const std::vector<uint8_t> & layer1,
           uint32_t n_expert = 8) {
    graph_layout layout(2);
    for (int l = 0; l < 2; ++l) {
        layout[static_cast<size_t>(l)].layer         = l;
        layout[static_cast<size_t>(l)].n_expert      = n_expert;
        layout[static_cast<size_t>(l)].n_expert_used = 2;
    }
    const std::vector<int32_t> token = {5, 6, 7}, pos = {0, 1, 0}, seq = {0, 0, 1}, last = {1, 2};
    const std::vector<uint8_t> phases(3);
    std::vector<block_rows>    rows(2);
    rows[0].layout    = &layout[0];
    rows[0].n_rows    = 3;
    rows[0].ids       = layer0.data();
    rows[1].layout    = &layout[1];
    rows[1].n_rows    = 2;
    rows[1].row_token = last;
    rows[1].ids       = layer1.data();
    routed_ubatch u;
    u.token  = token;
    u.pos    = pos;
    u.seq    = seq;
    u.phases = phases;
    u.layout = &layout;
    u.blocks = rows;
    log.ubatch(u);
}

TEST(displaced, are_the_selections_that_the_other_does_not_make) {
    selection_log full, changed;
    route(full, {0, 1, 2, 3, 4, 5}, {6, 7, 0, 1});
    route(changed, {1, 0, 2, 7, 6, 7}, {6, 7, 1, 5});  // an order is no difference
    const auto counts = count_displaced(full, changed, 2);
    EXPECT_EQ(counts[0].selections, 6u);
    EXPECT_EQ(counts[0].displaced, 1u);  // 3
    EXPECT_EQ(counts[1].selections, 4u);
    EXPECT_EQ(counts[1].displaced, 3u);  // 4, 5, and 0 of layer 1
}

TEST(displaced, of_another_number_of_experts_is_not_known) {
    selection_log full, changed;
    route(full, {0, 1, 2, 3, 4, 5}, {6, 7, 0, 1});
    route(changed, {0, 1, 2, 3, 4, 5}, {6, 7, 0, 1}, 16);
    for (const displaced_count & c : count_displaced(full, changed, 2)) {
        EXPECT_EQ(c.selections, 0u);
    }
}

TEST(displaced, goes_by_the_ids_of_the_model_that_was_never_changed) {
    selection_log full, pruned;
    pruned.name({8, {{0, {0, 1, 2, 3, 6, 7}}, {1, {0, 1, 2, 5, 6, 7}}}});
    route(full, {0, 1, 2, 3, 4, 5}, {6, 7, 0, 1});
    route(pruned, {1, 0, 2, 5, 4, 5}, {4, 5, 1, 3}, 6);  // {1, 0}, {2, 7}, {6, 7}; {6, 7}, {1, 5}
    const auto counts = count_displaced(full, pruned, 2);
    EXPECT_EQ(counts[0].selections, 6u);
    EXPECT_EQ(counts[0].displaced, 1u);
    EXPECT_EQ(counts[1].displaced, 3u);
}

TEST(displaced, clear_forgets) {
    selection_log full, changed;
    route(full, {0, 1, 2, 3, 4, 5}, {6, 7, 0, 1});
    full.clear();
    EXPECT_TRUE(full.ubatches().empty());
    EXPECT_EQ(count_displaced(full, changed, 1)[0].selections, 0u);
}

}  // namespace
