// What `stats --access` adds up, on two graphs worked out by hand.

#include <gtest/gtest.h>

#include "analysis/access.hpp"
#include "core/error.hpp"
#include "support/routing_builder.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;
using moescope::test::block_of;
using moescope::test::routing_builder;

class listed_source final : public trace::trace_source {
public:
    explicit listed_source(std::vector<access_list> lists) : lists_(std::move(lists)) {}
    const trace::trace_info &        info() const override { return info_; }
    const model_info &               model() const override { return model_; }
    graph_layout                     blocks() const override { return {}; }
    const std::vector<access_list> & access_lists() const override { return lists_; }
    bool                             next(routed_ubatch &) override { return false; }
    void                             rewind() override {}

private:
    trace::trace_info        info_;
    model_info               model_;
    std::vector<access_list> lists_;
};

// Puts the number of an access list into every ubatch.
class numbered final : public routing_sink {
public:
    numbered(routing_sink & to, std::vector<uint32_t> numbers) : to_(to), numbers_(std::move(numbers)) {}
    void ubatch(const routed_ubatch & u) override {
        routed_ubatch with = u;
        with.access        = numbers_.at(next_++);
        to_.ubatch(with);
    }

private:
    routing_sink &        to_;
    std::vector<uint32_t> numbers_;
    size_t                next_ = 0;
};

access_entry reads(const char * op, int32_t layer, int32_t block, std::vector<std::string> sources) {
    return {op, "dst", layer, block, std::move(sources)};
}

// Two layers of 4 experts, top-2. The embedding is tied: looked up first, multiplied last.
const access_list prefill = {
    reads("GET_ROWS", -1, -1, {"token_embd.weight"}),
    reads("MUL_MAT_ID", 0, 0, {"blk.0.ffn_up_exps.weight"}),
    reads("ADD_ID", 0, 0, {"blk.0.ffn_up_exps.bias"}),
    reads("MUL_MAT_ID", 1, 1, {"blk.1.ffn_up_exps.weight"}),
    reads("MUL", 1, -1, {"blk.1.norm.weight"}),
    reads("MUL", 1, -1, {"blk.1.norm.weight"}),           // a second node: still one read
    reads("MUL_MAT_ID", 1, -1, {"blk.1.switch.weight"}),  // by ids that no block has
    reads("MUL_MAT", 1, -1, {"adapter.lora_a"}),          // not in the model file
};
const access_list decode = {
    reads("GET_ROWS", -1, -1, {"token_embd.weight"}),
    reads("MUL_MAT_ID", 0, 0, {"blk.0.ffn_up_exps.weight"}),
    reads("MUL_MAT", -1, -1, {"token_embd.weight"}),
};
const weight_sizes sizes = {
    {"token_embd.weight", {1000, 10, 1, -1}},   {"blk.0.ffn_up_exps.weight", {400, 4, 4, 0}},
    {"blk.0.ffn_up_exps.bias", {40, 10, 4, 0}}, {"blk.1.ffn_up_exps.weight", {800, 8, 4, 1}},
    {"blk.1.norm.weight", {16, 16, 1, 1}},      {"blk.1.switch.weight", {64, 8, 1, 1}},
};

access_result added_up() {
    routing_builder t({block_of(0, 4, 2), block_of(1, 4, 2)});
    // Three tokens: layer 0 selects 0 three times, 1 twice, 3 once; layer 1 computes the last token alone.
    t.ubatch({{1, 0, 0, phase::prefill, {{{0, 1}}, {}}},
              {2, 1, 0, phase::prefill, {{{0, 1}}, {}}},
              {3, 2, 0, phase::prefill, {{{3, 0}}, {{2, 1}}}}});
    t.token(0, 3, {{{0, 2}}, {{2, 3}}});
    t.token(0, 4, {{{2, 0}}, {{0, 1}}});
    t.token(0, 5, {{{0, 1}}, {{0, 1}}});  // without a list
    const listed_source source({prefill, decode});
    access_totals       sum(source, sizes);
    numbered            feed(sum, {1, 2, 2, 0});
    t.feed(feed);
    return sum.result();
}

struct expected {
    std::string tensor;
    int32_t     expert;
    uint64_t    reads, rows, bytes;
};

void expect_reads(const std::vector<weight_reads> & got, const std::vector<expected> & want) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
        EXPECT_EQ(got[i].tensor, want[i].tensor) << i;
        EXPECT_EQ(got[i].expert, want[i].expert) << i;
        EXPECT_EQ(got[i].reads, want[i].reads) << want[i].tensor << want[i].expert;
        EXPECT_EQ(got[i].rows, want[i].rows) << want[i].tensor << want[i].expert;
        EXPECT_EQ(got[i].bytes, want[i].bytes) << want[i].tensor << want[i].expert;
    }
}

TEST(access, slices_by_their_bytes) {
    expect_reads(added_up().slices, {
                                        {"blk.0.ffn_up_exps.weight", 0, 3, 5, 300},
                                        {"blk.0.ffn_up_exps.weight", 2, 2, 2, 200},
                                        {"blk.1.ffn_up_exps.weight", 1, 1, 1, 200},
                                        {"blk.1.ffn_up_exps.weight", 2, 1, 1, 200},
                                        {"blk.0.ffn_up_exps.weight", 1, 1, 2, 100},
                                        {"blk.0.ffn_up_exps.weight", 3, 1, 1, 100},
                                        {"blk.0.ffn_up_exps.bias", 0, 1, 3, 10},
                                        {"blk.0.ffn_up_exps.bias", 1, 1, 2, 10},
                                        {"blk.0.ffn_up_exps.bias", 3, 1, 1, 10},
                                    });
}

// The embedding: three rows of the prefill, then whole where it is the output, too.
TEST(access, other_tensors_and_their_sums) {
    const access_result r = added_up();
    expect_reads(r.tensors, {
                                {"token_embd.weight", -1, 3, 5, 3 * 10 + 2 * 1000},
                                {"blk.1.norm.weight", -1, 1, 3, 16},
                                {"adapter.lora_a", -1, 1, 3, 0},
                            });
    EXPECT_FALSE(r.tensors[2].known);
    EXPECT_EQ(r.bytes_slices, 300u + 200 + 200 + 200 + 100 + 100 + 30);
    EXPECT_EQ(r.bytes_tensors, 2030u + 16);
    EXPECT_EQ(r.ubatches, 3u);
    EXPECT_EQ(r.tokens, 5u);
    EXPECT_EQ(r.n_unknown, 1u);
    EXPECT_EQ(r.n_unchosen, 1u);
    EXPECT_EQ(r.n_unlisted, 1u);
}

TEST(access, a_trace_without_lists_is_refused) {
    const listed_source source({});
    EXPECT_THROW(access_totals(source, sizes), error);
}

}  // namespace
