// Which tokens of a program that speculates are drafts: programs of every style are played through, and what they did with each
// token is compared with what was found out from their batches and from what they did to the memory.

#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include <llama.h>

#include "capture/drafts.hpp"

namespace moescope::capture {
namespace {

using what    = memory_event::what;
using removal = memory_event::removal;

struct token {
    int32_t              id, pos;
    std::vector<int32_t> seqs   = {0};
    bool                 output = false;
};

// A context: its memory, and what is found out about it. Every batch is one ubatch.
class context {
public:
    explicit context(draft_board & board, bool sees_calls = true) : drafts_(board), sees_calls_(sees_calls) {}

    // Returns where the tokens went.
    std::vector<token_ref> decode(const std::vector<token> & tokens, bool with_logits = true) {
        std::vector<int32_t> ids, pos, seq(tokens.size(), -1);
        for (const token & t : tokens) {
            ids.push_back(t.id);
            pos.push_back(t.pos);
            for (const int32_t s : t.seqs) {
                memory_[s].insert(t.pos);
            }
        }
        batch_replay replay = begin(tokens, with_logits);
        replay.attribute(ids, pos, seq);
        std::vector<token_ref> where;
        decoded.clear();
        for (size_t i = 0; i < tokens.size(); ++i) {
            where.push_back({n_ubatches_, static_cast<uint32_t>(i)});
            decoded.push_back(pos[i] > 0 && drafts_.is_generated(replay.found()[i]));
            drafts_.placed(replay.found()[i], where.back(), decoded.back());
        }
        n_ubatches_ += 1;
        return where;
    }
    // A batch of which nothing is computed.
    void fail(const std::vector<token> & tokens) { begin(tokens, true); }
    void remove(int32_t seq, int32_t p0, int32_t p1) {
        memory_event  e    = event(what::remove, seq, p0, p1);
        const int32_t last = memory_[seq].empty() ? -1 : *memory_[seq].rbegin();
        for (auto it = memory_[seq].begin(); it != memory_[seq].end();) {
            it = e.has(*it) ? memory_[seq].erase(it) : std::next(it);
        }
        happened(e, last);
    }
    void copy(int32_t from, int32_t to) {
        memory_event e = event(what::copy, from, -1, -1);
        e.to           = to;
        memory_[to].insert(memory_[from].begin(), memory_[from].end());
        happened(e, -1);
    }
    void keep(int32_t seq) {
        for (auto & [s, positions] : memory_) {
            if (s != seq) {
                positions.clear();
            }
        }
        happened(event(what::keep, seq, -1, -1), -1);
    }
    void shift(int32_t seq, int32_t p0, int32_t delta) {
        memory_event e = event(what::shift, seq, p0, -1);
        e.delta        = delta;
        std::set<int32_t> moved;
        for (const int32_t p : memory_[seq]) {
            moved.insert(e.moved(p));
        }
        memory_[seq] = moved;
        happened(e, -1);
    }
    void settle() {
        for (auto & [e, maybe] : waiting_) {
            drafts_.decide(e, maybe);
            take(e);
        }
        waiting_.clear();
    }

    std::vector<bool>                       decoded;   // of the latest batch
    std::vector<removal>                    removals;  // one for each that was told
    std::set<std::pair<uint64_t, uint32_t>> taken_back;

private:
    batch_replay begin(std::vector<token> tokens, bool with_logits) {
        settle();
        std::vector<int32_t>        ids, pos, n_seqs;
        std::vector<llama_seq_id *> seqs;
        std::vector<int8_t>         outputs;
        for (token & t : tokens) {
            ids.push_back(t.id);
            pos.push_back(t.pos);
            n_seqs.push_back(static_cast<int32_t>(t.seqs.size()));
            seqs.push_back(t.seqs.data());
            outputs.push_back(t.output);
        }
        batch_replay replay;
        replay.begin({static_cast<int32_t>(ids.size()), ids.data(), nullptr, pos.data(), n_seqs.data(), seqs.data(),
                      with_logits ? outputs.data() : nullptr},
                     {});
        for (const memory_event & e : drafts_.unseen(replay)) {
            EXPECT_FALSE(sees_calls_);
            judge(e, e.last);
        }
        drafts_.begin(&replay);
        return replay;
    }
    static memory_event event(what kind, int32_t seq, int32_t p0, int32_t p1) {
        memory_event e;
        e.kind = kind;
        e.seq  = seq;
        e.p0   = p0;
        e.p1   = p1;
        return e;
    }
    void happened(const memory_event & e, int32_t last) {
        if (sees_calls_) {
            judge(e, last);
        }
    }
    void judge(memory_event e, int32_t last) {
        const drafts::judgement found = drafts_.judge(e, last);
        if (found.what == drafts::verdict::decided) {
            take(e);
        } else if (found.what == drafts::verdict::undecided) {
            waiting_.push_back({e, found.maybe_drafts});
        }
    }
    void take(const memory_event & e) {
        removals.push_back(e.why);
        for (const token_ref & t : e.taken_back) {
            EXPECT_TRUE(taken_back.insert({t.ubatch, t.token}).second) << "taken back twice";
        }
    }

    drafts                                         drafts_;
    std::map<int32_t, std::set<int32_t>>           memory_;
    std::vector<std::pair<memory_event, text_run>> waiting_;
    uint64_t                                       n_ubatches_ = 0;
    bool                                           sees_calls_;
};

std::vector<token> prompt(int32_t first_pos, const std::vector<int32_t> & ids, int32_t seq = 0) {
    std::vector<token> batch;
    for (const int32_t id : ids) {
        batch.push_back({id, first_pos + static_cast<int32_t>(batch.size()), {seq}, batch.size() + 1 == ids.size()});
    }
    return batch;
}

enum class style {
    tidy,        // removes behind every batch, also where nothing is left to remove (llama-server)
    sparing,     // only where something was rejected
    checkpoint,  // a memory that cannot forget a part: goes back to before the batch, and computes again what was accepted
};

// A text that is generated with drafts, its model and drafts at random; what it knows to be no text is `expected`.
class speculation {
public:
    speculation(style how, uint32_t seed, context & target, context * draft = nullptr)
        : how_(how),
          random_(seed),
          target_(target),
          draft_(draft) {}

    void prompt_of(int32_t n) {
        std::vector<int32_t> ids;
        for (int32_t i = 0; i < n; ++i) {
            ids.push_back(any());
        }
        compute(prompt(pos_, ids), false);
        pos_ += n;
        last_ = any();
    }
    void round() {
        std::vector<int32_t> proposed = propose(below(6));
        std::vector<token>   batch    = {{last_, pos_, {0}, true}};
        for (const int32_t id : proposed) {
            batch.push_back({id, batch.back().pos + 1, {0}, true});
        }
        const std::vector<token_ref> where = compute(batch, true);
        for (size_t i = 0; i < batch.size(); ++i) {
            EXPECT_TRUE(target_.decoded[i]) << "of " << batch.size();
        }
        const int32_t accepted = proposed.empty() ? 0 : below(static_cast<int32_t>(proposed.size()) + 1);
        const bool    all      = accepted == static_cast<int32_t>(proposed.size());
        const bool    again    = how_ == style::checkpoint && !all;
        for (size_t i = again ? 0 : size_t(accepted) + 1; i < where.size(); ++i) {
            expected.insert({where[i].ubatch, where[i].token});
        }
        if (again) {
            remove(pos_);
            proposed.resize(static_cast<size_t>(accepted));
            batch.resize(static_cast<size_t>(accepted) + 1);
            const int32_t next = any();
            batch.push_back({next, pos_ + accepted + 1, {0}, true});
            compute(batch, true);
            pos_ += accepted + 2;
            remove(pos_);
            last_ = any();
            return;
        }
        pos_ += accepted + 1;
        if (how_ == style::tidy || !all) {
            remove(pos_);
        }
        rejected_ = !all ? proposed[static_cast<size_t>(accepted)] : -1;
        do {
            last_ = any();
        } while (last_ == rejected_);
    }
    void one() { compute({{last_, pos_++, {0}, true}}, true); }
    // The next prompt shares the text up to there.
    void cut(int32_t pos) {
        target_.remove(0, pos, -1);
        if (draft_ != nullptr) {
            draft_->remove(0, pos, -1);
        }
        pos_ = pos;
    }
    void make_room(int32_t n_keep, int32_t n) {
        for (context * c : {&target_, draft_}) {
            if (c != nullptr) {
                c->remove(0, n_keep, n_keep + n);
                c->shift(0, n_keep + n, -n);
            }
        }
        pos_ -= n;
    }
    int32_t position() const { return pos_; }
    int32_t below(int32_t n) { return std::uniform_int_distribution<int32_t>(0, n - 1)(random_); }

    std::set<std::pair<uint64_t, uint32_t>> expected, expected_of_draft;

private:
    int32_t any() { return below(4); }  // few, so that drafts and text are often the same by chance

    // The draft model tries, one token after the other.
    std::vector<int32_t> propose(int32_t n) {
        std::vector<int32_t> proposed;
        for (int32_t i = 0; i < n; ++i) {
            proposed.push_back(any());
        }
        if (draft_ == nullptr) {
            return proposed;
        }
        for (int32_t i = 0; i <= std::max(0, n - 1); ++i) {
            const int32_t   id = i == 0 ? last_ : proposed[static_cast<size_t>(i) - 1];
            const token_ref t  = draft_->decode({{id, pos_ + i, {0}, true}}).front();
            expected_of_draft.insert({t.ubatch, t.token});
        }
        draft_->remove(0, pos_, -1);
        return proposed;
    }
    std::vector<token_ref> compute(const std::vector<token> & batch, bool generated) {
        const std::vector<token_ref> where = target_.decode(batch);
        if (draft_ != nullptr) {
            const std::vector<token_ref> same = draft_->decode(batch, false);
            latest_of_draft_                  = generated ? same : std::vector<token_ref>();
            EXPECT_TRUE(!generated || draft_->decoded.back());
        }
        first_pos_ = batch.front().pos;
        return where;
    }
    void remove(int32_t pos) {
        target_.remove(0, pos, -1);
        if (draft_ != nullptr) {
            draft_->remove(0, pos, -1);
            for (size_t i = static_cast<size_t>(pos - first_pos_); i < latest_of_draft_.size(); ++i) {
                expected_of_draft.insert({latest_of_draft_[i].ubatch, latest_of_draft_[i].token});
            }
        }
    }

    style                  how_;
    std::mt19937           random_;
    context &              target_;
    context *              draft_;
    int32_t                pos_ = 0, last_ = 0, rejected_ = -1, first_pos_ = 0;
    std::vector<token_ref> latest_of_draft_;
};

TEST(capture_drafts, are_what_the_program_rejects) {
    for (const style how : {style::tidy, style::sparing, style::checkpoint}) {
        for (uint32_t seed = 0; seed < 200; ++seed) {
            draft_board board;
            context     target(board);
            speculation text(how, seed, target);
            text.prompt_of(7);
            for (int i = 0; i < 20; ++i) {
                text.round();
                if (i == 12) {
                    text.make_room(2, 3);
                }
            }
            EXPECT_EQ(target.taken_back, text.expected) << static_cast<int>(how) << ", seed " << seed;
            EXPECT_GT(text.expected.size(), 0u);
        }
    }
}

// A program whose calls are not seen: what it removed shows where it goes on.
TEST(capture_drafts, show_where_the_text_goes_on) {
    for (const style how : {style::tidy, style::checkpoint}) {
        for (uint32_t seed = 0; seed < 200; ++seed) {
            draft_board board;
            context     target(board, false);
            speculation text(how, seed, target);
            text.prompt_of(7);
            for (int i = 0; i < 20; ++i) {
                text.round();
            }
            text.one();
            EXPECT_EQ(target.taken_back, text.expected) << static_cast<int>(how) << ", seed " << seed;
        }
    }
}

// llama_decode found no room, and the program tries again with less.
TEST(capture_drafts, are_known_behind_a_batch_that_failed) {
    draft_board board;
    context     c(board);
    c.decode(prompt(0, {1, 2, 3}));
    const std::vector<token> batch = {{4, 3, {0}, true}, {5, 4, {0}, true}, {6, 5, {0}, true}};
    c.fail(batch);
    c.fail(batch);
    c.decode(batch);
    EXPECT_EQ(c.decoded, std::vector<bool>(3, true));
    c.remove(0, 5, -1);
    EXPECT_EQ(c.removals, std::vector<removal>{removal::rejected});
    EXPECT_EQ(c.taken_back, (std::set<std::pair<uint64_t, uint32_t>>{{1, 2}}));
}

// The next prompt begins somewhere in the text before: that was text.
TEST(capture_drafts, are_not_what_a_next_prompt_replaces) {
    for (uint32_t seed = 0; seed < 200; ++seed) {
        draft_board board;
        context     target(board);
        speculation text(style::tidy, seed, target);
        for (int i = 0; i < 8; ++i) {
            text.prompt_of(3);
            for (const bool d : target.decoded) {
                EXPECT_FALSE(d);
            }
            for (int n = 0; n < 5; ++n) {
                text.round();
            }
            text.cut(text.below(text.position()));
        }
        EXPECT_EQ(target.taken_back, text.expected) << "seed " << seed;
    }
}

TEST(capture_drafts, of_a_draft_model_are_none_of_its_text) {
    for (const style how : {style::tidy, style::checkpoint}) {
        for (uint32_t seed = 0; seed < 200; ++seed) {
            draft_board board;
            context     target(board), draft(board);
            speculation text(how, seed, target, &draft);
            text.prompt_of(7);
            for (int i = 0; i < 20; ++i) {
                text.round();
            }
            draft.settle();
            EXPECT_EQ(target.taken_back, text.expected) << static_cast<int>(how) << ", seed " << seed;
            EXPECT_EQ(draft.taken_back, text.expected_of_draft) << static_cast<int>(how) << ", seed " << seed;
        }
    }
}

// llama-speculative: sequences branch at each token of the draft; the batch's tokens belong to all that go through them.
TEST(capture_drafts, of_a_tree_are_the_branches_that_are_not_kept) {
    draft_board board;
    context     c(board);
    c.decode(prompt(0, {1, 2, 3}));
    c.keep(0);
    c.copy(0, 1);
    c.copy(0, 2);
    // 4, then 5 6 or 7 8 or 5 9
    const auto where = c.decode({{4, 3, {0, 1, 2}, true},
                                 {5, 4, {0, 2}, true},
                                 {6, 5, {0}, true},
                                 {7, 4, {1}, true},
                                 {8, 5, {1}, true},
                                 {9, 5, {2}, true}});
    for (const bool d : c.decoded) {
        EXPECT_TRUE(d);
    }
    // 4 5 9 and one more that was sampled.
    c.remove(2, 6, -1);
    c.keep(2);
    c.copy(2, 0);
    c.keep(0);
    EXPECT_EQ(c.taken_back, (std::set<std::pair<uint64_t, uint32_t>>{{1, 2}, {1, 3}, {1, 4}}));
    c.decode({{10, 6, {0}, true}});
    c.remove(0, 5, -1);  // begun anew
    EXPECT_EQ(c.taken_back.size(), 3u);
    EXPECT_EQ(c.removals.back(), removal::cut);
}

// The last token of a prompt that is computed alone: behind a piece of the prompt of which nothing was asked, or because the memory
// holds the rest.
TEST(capture_drafts, a_prompts_last_token_is_not_generated) {
    draft_board        board;
    context            c(board);
    std::vector<token> piece = prompt(0, {1, 2, 3});
    piece.back().output      = false;
    c.decode(piece);
    c.decode({{4, 3, {0}, true}});
    EXPECT_FALSE(c.decoded[0]);
    c.decode({{5, 4, {0}, true}});
    EXPECT_TRUE(c.decoded[0]);
    c.decode({{6, 5, {0}, true}});
    EXPECT_TRUE(c.decoded[0]);
    c.remove(0, 3, -1);  // asked once more
    c.decode({{4, 3, {0}, true}});
    EXPECT_FALSE(c.decoded[0]);
    c.decode({{5, 4, {0}, true}});
    EXPECT_TRUE(c.decoded[0]);
}

// An MTP context follows the model without asking for logits; its first draft comes before anything was verified.
TEST(capture_drafts, of_an_mtp_context_begin_where_the_model_samples) {
    draft_board        board;
    context            model(board), mtp(board);
    std::vector<token> text = prompt(0, {1, 2, 3});
    model.decode(text);
    text.back().output = false;
    mtp.decode(text);
    mtp.decode({{4, 3, {0}, true}});  // what the model sampled
    EXPECT_TRUE(mtp.decoded[0]);
    mtp.decode({{5, 4, {0}, true}});
    EXPECT_TRUE(mtp.decoded[0]);
    mtp.remove(0, 3, -1);
    model.decode({{4, 3, {0}, true}, {5, 4, {0}, true}, {6, 5, {0}, true}});
    mtp.decode({{4, 3, {0}, false}, {5, 4, {0}, false}, {6, 5, {0}, false}});
    EXPECT_TRUE(mtp.decoded[0]);
    EXPECT_EQ(mtp.taken_back.size(), 2u);
    model.remove(0, 4, -1);
    mtp.remove(0, 4, -1);
    EXPECT_EQ(model.taken_back.size(), 2u);
    EXPECT_EQ(mtp.taken_back.size(), 4u);
    EXPECT_EQ(mtp.removals, (std::vector<removal>{removal::rejected, removal::rejected}));
}

// A perplexity run asks for the logits of every token, and a prompt may come in pieces: neither generates.
TEST(capture_drafts, are_only_where_text_is_generated) {
    draft_board        board;
    context            c(board);
    std::vector<token> all = prompt(0, {1, 2, 3, 4});
    for (token & t : all) {
        t.output = true;
    }
    c.decode(all);
    for (token & t : all) {
        t.pos += 4;
    }
    c.decode(all);
    c.remove(0, 6, -1);
    EXPECT_TRUE(c.taken_back.empty());
    for (const bool d : c.decoded) {
        EXPECT_FALSE(d);
    }
}

TEST(capture_drafts, kinds_of_removed_text_are_told_apart) {
    draft_board board;
    context     c(board);
    c.decode(prompt(0, {1, 2, 3, 4, 5, 6, 7, 8}));
    c.remove(0, 8, -1);  // nothing is there
    c.remove(1, 0, -1);
    EXPECT_TRUE(c.removals.empty());
    c.remove(0, 2, 4);
    c.shift(0, 4, -2);
    c.remove(0, 5, -1);
    c.remove(0, -1, -1);
    EXPECT_EQ(c.removals, (std::vector<removal>{removal::discard, removal::none, removal::cut, removal::drop}));
    EXPECT_TRUE(c.taken_back.empty());
}

}  // namespace
}  // namespace moescope::capture
