#include "analysis/tools/row_filter.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "support/routing_builder.hpp"

namespace moescope::analysis {
namespace {

using test::block_of;
using test::routing_builder;
using test::token_rows;

// Rows as a sink saw them: layer, token, ids and weights.
struct seen_row {
    int32_t               layer, token;
    std::vector<uint32_t> ids;
    std::vector<float>    weights;
    bool                  operator==(const seen_row & o) const {
                         return layer == o.layer && token == o.token && ids == o.ids && weights == o.weights;
    }
};

class recording_sink final : public routing_sink {
public:
    void ubatch(const routed_ubatch & u) override {
        n_tokens += u.n_tokens();
        for (const block_rows & b : u.blocks) {
            EXPECT_EQ(b.layout, &(*u.layout)[static_cast<size_t>(&b - u.blocks.begin())]);
            const size_t k = b.layout->n_expert_used;
            for (uint32_t r = 0; r < b.n_rows; ++r) {
                seen_row row{b.layout->layer, b.token_of(r), {}, {}};
                for (size_t i = r * k; i < (r + 1) * k; ++i) {
                    row.ids.push_back(b.id(i));
                    row.weights.push_back(b.values_of(column::weights)[i]);
                }
                rows.push_back(row);
            }
        }
    }
    std::vector<seen_row> rows;
    size_t                n_tokens = 0;
};

// One ubatch that mixes phases. Layer 2 (ids of one byte) has a row for each token, layer 5 (ids of two bytes) none for
// the first.
routing_builder mixed() {
    routing_builder t({block_of(2, 8, 2, column::weights), block_of(5, 300, 2, column::weights)});
    t.ubatch({
        {-1, 0, 0, phase::prefill, {{{1, 2}, {0.5f, 0.25f}}, {}}},
        {-1, 7, 1, phase::decode, {{{3, 4}, {0.75f, 0.125f}}, {{256, 4}, {1.0f, 2.0f}}}},
        {-1, 1, 0, phase::prefill, {{{5, 6}, {0.1f, 0.2f}}, {{7, 299}, {3.0f, 4.0f}}}},
    });
    return t;
}

std::vector<seen_row> filtered(const row_choice & choice, size_t & n_tokens) {
    recording_sink sink;
    row_filter     filter(choice, sink);
    mixed().feed(filter);
    n_tokens = sink.n_tokens;
    return sink.rows;
}

TEST(row_filter, keeps_the_rows_of_a_phase_and_all_tokens) {
    row_choice decoded, prefilled;
    decoded.only    = phase::decode;
    prefilled.only  = phase::prefill;
    size_t n_tokens = 0;
    EXPECT_EQ(filtered(decoded, n_tokens),
              (std::vector<seen_row>{{2, 1, {3, 4}, {0.75f, 0.125f}}, {5, 1, {256, 4}, {1.0f, 2.0f}}}));
    EXPECT_EQ(n_tokens, 3u);
    EXPECT_EQ(filtered(prefilled, n_tokens),
              (std::vector<seen_row>{
                  {2, 0, {1, 2}, {0.5f, 0.25f}}, {2, 2, {5, 6}, {0.1f, 0.2f}}, {5, 2, {7, 299}, {3.0f, 4.0f}}}));
}

TEST(row_filter, keeps_the_chosen_layers) {
    row_choice choice;
    choice.layers   = layer_filter("3-9");
    size_t n_tokens = 0;
    EXPECT_EQ(filtered(choice, n_tokens),
              (std::vector<seen_row>{{5, 1, {256, 4}, {1.0f, 2.0f}}, {5, 2, {7, 299}, {3.0f, 4.0f}}}));
    choice.only = phase::decode;
    EXPECT_EQ(filtered(choice, n_tokens), (std::vector<seen_row>{{5, 1, {256, 4}, {1.0f, 2.0f}}}));
}

// Where a whole ubatch is of the phase, only rows of unknown tokens are taken out.
TEST(row_filter, leaves_out_rows_of_unknown_tokens) {
    ubatch_buffer u;
    u.set_tokens(2);
    u.phases.assign(2, static_cast<uint8_t>(phase::decode));
    u.layout = {block_of(0, 8, 1, column::weights), block_of(1, 8, 1, column::weights)};
    for (const bool numbered : {false, true}) {
        u.add_block(2, numbered);
        for (uint32_t i = 0; i < 2; ++i) {
            u.set_id(i, 4 + i);
            u.values(column_index(column::weights))[i] = 0.5f * static_cast<float>(i);
        }
    }
    u.row_tokens()[0] = -1;
    u.row_tokens()[1] = 0;
    recording_sink sink;
    row_choice     decoded;
    decoded.only = phase::decode;
    row_filter filter(decoded, sink);
    filter.ubatch(u.view());
    EXPECT_EQ(sink.rows, (std::vector<seen_row>{{0, 0, {4}, {0.0f}}, {0, 1, {5}, {0.5f}}, {1, 0, {5}, {0.5f}}}));
}

}  // namespace
}  // namespace moescope::analysis
