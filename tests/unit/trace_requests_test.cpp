// Requests of a server that keeps prefixes, runs several slots in one batch, and verifies nothing speculatively.

#include <gtest/gtest.h>

#include "trace/requests.hpp"

namespace moescope::trace {
namespace {

struct token {
    int32_t seq, pos;
    phase   p = phase::prefill;
};

// Which request each token belongs to.
std::vector<int64_t> follow(request_finder & finder, const std::vector<token> & tokens, uint64_t time_ns = 0,
                            uint32_t batch = 0, std::vector<memory_event> memory = {}) {
    std::vector<int32_t> id, pos, seq;
    std::vector<uint8_t> phases;
    for (const token & t : tokens) {
        id.push_back(7);
        pos.push_back(t.pos);
        seq.push_back(t.seq);
        phases.push_back(static_cast<uint8_t>(t.p));
    }
    routed_ubatch u;
    u.time_ns = time_ns;
    u.batch   = batch;
    u.token   = id;
    u.pos     = pos;
    u.seq     = seq;
    u.phases  = phases;
    u.memory  = memory;
    return finder.follow(u);
}

using numbers = std::vector<int64_t>;

TEST(requests, a_prompt_in_two_ubatches_and_its_answer) {
    request_finder f;
    EXPECT_EQ(follow(f, {{0, 0}, {0, 1}}, 100, 3), (numbers{0, 0}));
    EXPECT_EQ(follow(f, {{0, 2}}, 200, 3), (numbers{0}));
    EXPECT_EQ(follow(f, {{0, 3, phase::decode}}, 300, 4), (numbers{0}));
    EXPECT_EQ(follow(f, {{0, 4, phase::decode}}, 450, 5), (numbers{0}));
    ASSERT_EQ(f.requests().size(), 1u);
    const request & r = f.requests()[0];
    EXPECT_EQ(std::tuple(r.sequence, r.ubatch, r.batch, r.start_ns, r.end_ns), std::tuple(0, 0u, 3u, 100u, 450u));
    EXPECT_EQ(std::tuple(r.reused, r.prefilled, r.decoded), std::tuple(0u, 3u, 2u));
}

TEST(requests, what_is_reused_of_an_earlier_one) {
    request_finder f;
    follow(f, {{2, 0}, {2, 1}, {2, 2}});
    follow(f, {{2, 3, phase::decode}});
    EXPECT_EQ(follow(f, {{2, 4}, {2, 5}}), (numbers{1, 1}));  // the conversation goes on: all of it is reused
    EXPECT_EQ(follow(f, {{2, 6, phase::decode}}), (numbers{1}));
    EXPECT_EQ(follow(f, {{2, 2}, {2, 3}}), (numbers{2, 2}));  // another text that begins with the same two tokens
    EXPECT_EQ(follow(f, {{2, 0}}), (numbers{3}));             // and one that shares none, before any answer
    ASSERT_EQ(f.requests().size(), 4u);
    EXPECT_EQ(f.requests()[1].reused, 4u);
    EXPECT_EQ(f.requests()[2].reused, 2u);
    EXPECT_EQ(f.requests()[3].reused, 0u);
}

TEST(requests, slots_in_one_ubatch_stay_apart) {
    request_finder f;
    EXPECT_EQ(follow(f, {{0, 0}, {1, 0}, {0, 1}}), (numbers{0, 1, 0}));
    EXPECT_EQ(follow(f, {{1, 1, phase::decode}, {0, 2, phase::decode}, {3, 0}}), (numbers{1, 0, 2}));
    EXPECT_EQ(follow(f, {{1, 0}, {0, 3, phase::decode}}), (numbers{3, 0}));
    EXPECT_EQ(f.requests()[3].sequence, 1);
    EXPECT_EQ(f.requests()[3].ubatch, 2u);
}

TEST(requests, a_prompt_that_the_cache_holds_but_for_its_last_token) {
    request_finder f;
    follow(f, {{0, 0}, {0, 1}, {0, 2}});
    EXPECT_EQ(follow(f, {{0, 3, phase::decode}}), (numbers{0}));
    EXPECT_EQ(follow(f, {{0, 4, phase::decode}}), (numbers{0}));
    EXPECT_EQ(follow(f, {{0, 2, phase::decode}}),
              (numbers{1}));  // asked once more: alone in its batch, it looks decoded
    EXPECT_EQ(follow(f, {{0, 3, phase::decode}}), (numbers{1}));
    const request & r = f.requests()[1];
    EXPECT_EQ(std::tuple(r.reused, r.prefilled, r.decoded), std::tuple(2u, 1u, 1u));
}

TEST(requests, decoded_tokens_that_do_not_go_back_begin_none) {
    request_finder f;
    follow(f, {{0, 0}});
    EXPECT_EQ(follow(f, {{0, 1, phase::decode}}), (numbers{0}));
    follow(f, {{0, 2}, {0, 3}, {0, 4}});                           // looks like a prompt, which drafts do
    EXPECT_EQ(follow(f, {{0, 3, phase::decode}}), (numbers{1}));   // two of them were rejected
    EXPECT_EQ(follow(f, {{0, -1, phase::decode}}), (numbers{1}));  // position unknown
    request_finder middle;                                         // a trace that begins in the middle of an answer
    EXPECT_EQ(follow(middle, {{0, 40, phase::decode}}), (numbers{0}));
    EXPECT_EQ(middle.requests()[0].reused, 40u);
}

// A context shift moves the positions, and a draft that was handed out goes back: the answer goes on.
TEST(requests, an_answer_goes_on_behind_a_shift_and_a_rejected_draft) {
    memory_event shift, rejected;
    shift.kind   = memory_event::what::shift;
    shift.seq    = 0;
    shift.p0     = 2;
    shift.delta  = -2;
    rejected.seq = 0;
    rejected.p0  = 4;
    rejected.why = memory_event::removal::rejected;
    request_finder f;
    follow(f, {{0, 0}, {0, 1}, {0, 2}, {0, 3}});
    EXPECT_EQ(follow(f, {{0, 4, phase::decode}}), (numbers{0}));
    EXPECT_EQ(follow(f, {{0, 3, phase::decode}}, 0, 0, {shift}), (numbers{0}));
    EXPECT_EQ(follow(f, {{0, 4, phase::decode}, {0, 5, phase::decode}}), (numbers{0, 0}));
    EXPECT_EQ(follow(f, {{0, 4, phase::decode}}, 0, 0, {rejected}), (numbers{0}));
    EXPECT_EQ(follow(f, {{0, 4, phase::decode}}), (numbers{1})) << "without a reason it is another one";
}

}  // namespace
}  // namespace moescope::trace
