#include "core/ubatch_buffer.hpp"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace moescope {
namespace {

block_layout block_of(uint32_t n_expert, uint32_t k, column_set columns) {
    block_layout l;
    l.n_expert      = n_expert;
    l.n_expert_used = k;
    l.n_embd        = 5;
    l.columns       = columns | column::ids;
    return l;
}

// The id and the value that a place holds, by formula: different in every block, row and column.
uint32_t id_at(size_t block, size_t i) {
    return static_cast<uint32_t>(7 * block + i);
}
float value_at(size_t block, size_t column, size_t i) {
    return static_cast<float>(1000 * block + 100 * column + i);
}

// Three blocks whose ids take 1, 2 and 4 bytes, with columns of every width.
void fill(ubatch_buffer & u, uint32_t n_tokens) {
    u.set_tokens(n_tokens);
    u.layout = {block_of(0x100, 3, column::weights), block_of(0x101, 2, column::gate_input | column::logits),
                block_of(0x10001, 1, column::norms)};
    for (size_t b = 0; b < u.layout.size(); ++b) {
        const bool     last   = b == 1;  // a block that computes the last token alone
        const uint32_t n_rows = last ? 1 : n_tokens;
        u.add_block(n_rows, last);
        if (last) {
            u.row_tokens()[0] = static_cast<int32_t>(n_tokens) - 1;
        }
        for (size_t i = 0; i < n_rows * u.layout[b].n_expert_used; ++i) {
            u.set_id(i, id_at(b, i));
        }
        for (size_t c = 0; c < n_float_columns; ++c) {
            for (size_t i = 0; u.values(c) != nullptr && i < n_rows * u.layout[b].width(float_columns[c]); ++i) {
                u.values(c)[i] = value_at(b, c, i);
            }
        }
    }
}

void expect_filled(const routed_ubatch & u, uint32_t n_tokens) {
    ASSERT_EQ(u.n_tokens(), n_tokens);
    ASSERT_EQ(u.blocks.size(), 3u);
    for (size_t b = 0; b < u.blocks.size(); ++b) {
        const block_rows & rows = u.blocks[b];
        EXPECT_EQ(rows.layout, &(*u.layout)[b]);
        ASSERT_EQ(rows.n_rows, b == 1 ? 1 : n_tokens);
        EXPECT_EQ(rows.token_of(0), b == 1 ? static_cast<int32_t>(n_tokens) - 1 : 0);
        for (size_t i = 0; i < rows.n_rows * rows.layout->n_expert_used; ++i) {
            EXPECT_EQ(rows.id(i), id_at(b, i));
        }
        for (size_t c = 0; c < n_float_columns; ++c) {
            const bool there = rows.layout->columns.has(float_columns[c]);
            ASSERT_EQ(rows.values[c] != nullptr, there);
            for (size_t i = 0; there && i < rows.n_rows * rows.layout->width(float_columns[c]); ++i) {
                EXPECT_EQ(rows.values[c][i], value_at(b, c, i));
            }
        }
    }
}

TEST(ubatch_buffer, shows_what_was_put_into_it) {
    ubatch_buffer u;
    fill(u, 3);
    u.time_ns             = 5;
    u.batch               = 2;
    u.access              = 1;
    u.token               = {10, 11, 12};
    const routed_ubatch v = u.view();
    expect_filled(v, 3);
    EXPECT_EQ(v.time_ns, 5u);
    EXPECT_EQ(v.batch, 2u);
    EXPECT_EQ(v.access, 1u);
    EXPECT_EQ(v.token[2], 12);
    EXPECT_EQ(v.pos[2], -1) << "unknown until it is said";
}

TEST(ubatch_buffer, is_as_new_when_it_is_cleared) {
    ubatch_buffer u;
    fill(u, 9);
    u.batch = 4;
    u.clear();
    EXPECT_EQ(u.bytes(), 0u);
    EXPECT_EQ(u.view().n_tokens(), 0u);
    EXPECT_EQ(u.view().blocks.size(), 0u);
    EXPECT_EQ(u.batch, 0u);
    fill(u, 2);
    expect_filled(u.view(), 2);
}

TEST(ubatch_buffer, opens_rows_that_hold_nothing_yet) {
    ubatch_buffer u;
    fill(u, 4);  // whose bytes are used again
    u.clear();
    u.set_tokens(4);
    u.layout = {block_of(300, 2, column::weights)};
    u.add_block(4, false);
    const block_rows & rows = u.view().blocks[0];
    for (size_t i = 0; i < 8; ++i) {
        EXPECT_EQ(rows.id(i), 0u);
        EXPECT_EQ(rows.values_of(column::weights)[i], 0.0f);
    }
}

TEST(ubatch_buffer, copies_stand_for_themselves) {
    ubatch_buffer u;
    fill(u, 3);
    ubatch_buffer copy = u;
    u.clear();
    fill(u, 1);
    expect_filled(copy.view(), 3);
    static_cast<uint8_t *>(copy.ids(0))[0] = 99;
    EXPECT_EQ(copy.view().blocks[0].id(0), 99u);
    EXPECT_EQ(u.view().blocks[0].id(0), id_at(0, 0));
}

}  // namespace
}  // namespace moescope
