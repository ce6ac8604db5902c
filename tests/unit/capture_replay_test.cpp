// Which sequence a row of a ubatch belongs to, from the batch alone: right or -1, never a guess.

#include <gtest/gtest.h>

#include <llama.h>

#include "capture/batch_replay.hpp"

namespace moescope::capture {
namespace {

struct token {
    int32_t              id, pos;
    std::vector<int32_t> seqs;
};

class replayed {
public:
    explicit replayed(const std::vector<token> & tokens) {
        std::vector<llama_token>    ids;
        std::vector<llama_pos>      pos;
        std::vector<int32_t>        n_seqs;
        std::vector<llama_seq_id *> seqs;
        auto                        given = tokens;
        for (token & t : given) {
            ids.push_back(t.id);
            pos.push_back(t.pos);
            n_seqs.push_back(static_cast<int32_t>(t.seqs.size()));
            seqs.push_back(t.seqs.data());
        }
        replay_.begin(
            {static_cast<int32_t>(ids.size()), ids.data(), nullptr, pos.data(), n_seqs.data(), seqs.data(), nullptr},
            {});
    }

    // The sequences of the next ubatch, of these tokens and positions.
    std::vector<int32_t> ubatch(std::vector<int32_t> ids, std::vector<int32_t> pos) {
        std::vector<int32_t> seq(ids.size(), -1);
        replay_.attribute(ids, pos, seq);
        return seq;
    }

private:
    batch_replay replay_;
};

const std::vector<int32_t> unknown2(2, -1), unknown6(6, -1);

TEST(capture_replay, simple_and_equal_splits_are_told_apart) {
    const std::vector<token> batch = {{10, 0, {0}}, {11, 1, {0}}, {12, 2, {0}},
                                      {20, 0, {1}}, {21, 1, {1}}, {22, 2, {1}}};
    replayed                 simple(batch), equal(batch);
    EXPECT_EQ(simple.ubatch({10, 11, 12, 20}, {0, 1, 2, 0}), (std::vector<int32_t>{0, 0, 0, 1}));
    EXPECT_EQ(simple.ubatch({21, 22}, {1, 2}), (std::vector<int32_t>{1, 1}));
    EXPECT_EQ(equal.ubatch({10, 11, 20, 21}, {0, 1, 0, 1}), (std::vector<int32_t>{0, 0, 1, 1}));
    EXPECT_EQ(equal.ubatch({12, 22}, {2, 2}), (std::vector<int32_t>{0, 1}));
}

TEST(capture_replay, equal_tokens_are_told_apart_where_all_splits_agree) {
    replayed same({{10, 0, {0}}, {10, 0, {1}}, {10, 0, {2}}, {10, 0, {3}}});
    EXPECT_EQ(same.ubatch({10, 10}, {0, 0}), (std::vector<int32_t>{0, 1}));
    EXPECT_EQ(same.ubatch({10}, {0}), (std::vector<int32_t>{2}));
    EXPECT_EQ(same.ubatch({99}, {0}), (std::vector<int32_t>{-1}));
}

TEST(capture_replay, sequences_that_are_put_off_are_another_way) {
    // Without positions (no RoPE) and with one token all over, six tokens may be two of each of three sequences or three of
    // each of two.
    std::vector<token> batch;
    for (int i = 0; i < 3; ++i) {
        for (const int32_t seq : {0, 1, 2}) {
            batch.push_back({7, i, {seq}});
        }
    }
    replayed                   r(batch);
    const std::vector<int32_t> seqs = r.ubatch(std::vector<int32_t>(6, 7), unknown6);
    EXPECT_EQ(seqs[0], 0);  // in all of them
    EXPECT_EQ(std::vector<int32_t>(seqs.begin() + 1, seqs.end()), std::vector<int32_t>(5, -1));
}

TEST(capture_replay, a_token_of_two_sequences_has_its_first) {
    replayed r({{10, 0, {3, 1}}, {11, 1, {3}}, {12, 1, {1}}});
    EXPECT_EQ(r.ubatch({10, 11, 12}, {0, 1, 1}), (std::vector<int32_t>{3, 3, 1}));
}

TEST(capture_replay, without_a_batch_nothing_is_known) {
    batch_replay         r;
    std::vector<int32_t> ids = {1, 2}, pos = {0, 1}, seq(2, -1);
    r.begin_unknown();
    EXPECT_FALSE(r.attribute(ids, pos, seq));
    EXPECT_EQ(seq, unknown2);
}

}  // namespace
}  // namespace moescope::capture
