// What a program does to its context's memory, on a planted model whose routing is known by token: rows keep their token, position
// and sequence when texts are shifted, copied and cut, and drafts are told from text.

#include "make-model/planted_model.hpp"
#include "support/model_runner.hpp"
#include "support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "analysis/tools/sequences.hpp"
#include "trace/requests.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;
using make_model::planted_options;
using make_model::planted_truth;
using what    = memory_event::what;
using removal = memory_event::removal;

constexpr int32_t small_context = 48;

// Sees a stream as an analysis does: which tokens follow each other, and which request they belong to.
class follower : public routing_sink {
public:
    follower(recording & to, std::set<int64_t> & sequences, size_t & n_requests, size_t & n_follow)
        : kept_(to),
          sequences_(sequences),
          n_requests_(n_requests),
          n_follow_(n_follow) {}

    void model(const model_info & m) override { kept_.model(m); }
    void memory(const memory_event & e) override { kept_.memory(e); }
    void ubatch(const routed_ubatch & u) override {
        kept_.ubatch(u);
        for (const analysis::token_place & p : tracker_.follow(u)) {
            sequences_.insert(p.sequence);
            n_follow_ += p.follows;
        }
        requests_.follow(u);
        n_requests_ = requests_.requests().size();
    }

private:
    recording_sink             kept_;
    analysis::sequence_tracker tracker_;
    trace::request_finder      requests_;
    std::set<int64_t> &        sequences_;
    size_t &                   n_requests_;
    size_t &                   n_follow_;
};

class memory_events : public testing::Test {
protected:
    memory_events() : truth_(options()) { make_model::write_planted_model(path_, truth_); }

    static planted_options options() {
        planted_options o;
        o.arch = "qwen3moe", o.n_expert = 16, o.n_expert_used = 4;
        return o;
    }
    static llama_context_params small() {
        llama_context_params p = model_runner::default_params();
        p.n_ctx = small_context, p.n_batch = p.n_ubatch = 16, p.n_seq_max = 4;
        return p;
    }
    template <class Work>
    recording captured(Work work) {
        model_runner     runner(path_);
        recording        kept;
        capture::session s({},
                           [&](uint32_t) { return std::make_unique<follower>(kept, sequences, n_requests, n_follow); });
        runner.open(small());
        work(runner);
        runner.close();
        EXPECT_EQ(s.failure(), "");
        return kept;
    }
    // The next tokens of sequence 0, whose positions are llama.cpp's business.
    static void decode_next(model_runner & runner, std::vector<llama_token> tokens) {
        const int32_t n = static_cast<int32_t>(tokens.size());
        ASSERT_EQ(llama_decode(runner.context(), llama_batch_get_one(tokens.data(), n)), 0);
        llama_synchronize(runner.context());
    }
    static llama_token text(int32_t i) { return 20 + (11 * i) % 200; }

    struct place {
        int32_t token, pos, seq;
        bool    operator<(const place & o) const { return std::tie(token, pos, seq) < std::tie(o.token, o.pos, o.seq); }
    };
    // Every row of the first layer is one of these, in this order, and the experts are those of its token.
    void expect_rows(const recording & r, const std::vector<place> & places) {
        size_t at = 0;
        for (const row & x : r.rows()) {
            EXPECT_EQ((std::vector<int>{x.ids.begin(), x.ids.end()}), truth_.ids(uint32_t(x.layer), x.token));
            if (x.layer == 0) {
                ASSERT_LT(at, places.size());
                EXPECT_EQ(std::tie(x.token, x.pos, x.seq), std::tie(places[at].token, places[at].pos, places[at].seq))
                    << "row " << at;
                at += 1;
            }
        }
        EXPECT_EQ(at, places.size());
    }

    scratch_folder    folder_;
    std::string       path_ = folder_ / "model.gguf";
    planted_truth     truth_;
    std::set<int64_t> sequences;
    size_t            n_requests = 0, n_follow = 0;
};

// A text that is longer than the context: three times, its middle makes room. Positions count from where the text was shifted to,
// and to an analysis it is still one text.
TEST_F(memory_events, text_goes_on_behind_a_context_shift) {
    constexpr int32_t  n_keep = 4, n_discard = 21;
    std::vector<place> places;
    size_t             n_shifts = 0;
    const recording    r        = captured([&](model_runner & runner) {
        int32_t n_past = 0;
        for (int32_t i = 0; i < 100; ++i) {
            if (n_past == small_context) {
                llama_memory_t memory = llama_get_memory(runner.context());
                ASSERT_TRUE(llama_memory_seq_rm(memory, 0, n_keep, n_keep + n_discard));
                llama_memory_seq_add(memory, 0, n_keep + n_discard, n_past, -n_discard);
                n_past -= n_discard;
                n_shifts += 1;
            }
            if (i == 0) {
                decode_next(runner, {text(0), text(1), text(2), text(3), text(4), text(5)});
                for (; n_past < 6; ++n_past) {
                    places.push_back({text(n_past), n_past, 0});
                }
                i = 5;
            } else if (i % 2 == 0) {
                decode_next(runner, {text(i)});
                places.push_back({text(i), n_past++, 0});
            } else {
                runner.decode({{text(i), n_past}});
                places.push_back({text(i), n_past++, 0});
            }
        }
    });
    ASSERT_EQ(n_shifts, 3u);
    expect_rows(r, places);
    ASSERT_EQ(r.events.size(), 6u);
    for (size_t i = 0; i < 6; i += 2) {
        EXPECT_EQ(r.events[i].why, removal::discard);
        EXPECT_EQ(r.events[i].n_positions(), n_discard);
        EXPECT_EQ(r.events[i + 1].kind, what::shift);
        EXPECT_EQ(r.events[i + 1].delta, -n_discard);
        EXPECT_EQ(r.events[i].n_ubatches, small_context - 5u + (i / 2) * n_discard);
    }
    EXPECT_EQ(sequences, std::set<int64_t>{0});
    EXPECT_EQ(n_follow, 99u);
    EXPECT_EQ(n_requests, 1u);
}

// Two texts side by side, of which one is shifted: the other stays where it is.
TEST_F(memory_events, a_shift_moves_its_own_sequence) {
    std::vector<place>                      places;
    const recording                         r = captured([&](model_runner & runner) {
        runner.decode({{50, 0, 0, false}, {51, 1, 0, true}, {60, 0, 1, false}, {61, 1, 1, true}});
        int32_t a = 2, b = 2;
        for (int32_t i = 0; i < 20; ++i) {
            if (i == 7) {
                llama_memory_seq_rm(llama_get_memory(runner.context()), 1, 1, 5);
                llama_memory_seq_add(llama_get_memory(runner.context()), 1, 5, -1, -4);
                b -= 4;
            }
            runner.decode({{text(i), a++, 0}, {text(i + 1), b++, 1}});
        }
    });
    std::map<int32_t, std::vector<int32_t>> positions;
    for (const row & x : r.rows()) {
        EXPECT_EQ((std::vector<int>{x.ids.begin(), x.ids.end()}), truth_.ids(uint32_t(x.layer), x.token));
        if (x.layer == 0) {
            positions[x.seq].push_back(x.pos);
        }
    }
    std::vector<int32_t> of_0, of_1;
    for (int32_t i = 0; i < 22; ++i) {
        of_0.push_back(i);
        of_1.push_back(i < 9 ? i : i - 4);
    }
    EXPECT_EQ(positions, (std::map<int32_t, std::vector<int32_t>>{{0, of_0}, {1, of_1}}));
    EXPECT_EQ(sequences.size(), 2u);
    EXPECT_EQ(n_requests, 2u);
}

// Drafts in two sequences at once; a prompt beside them is none.
TEST_F(memory_events, drafts_are_told_from_text) {
    const recording r = captured([&](model_runner & runner) {
        llama_memory_t memory = llama_get_memory(runner.context());
        runner.decode({{50, 0, 0, false}, {51, 1, 0, true}, {60, 0, 1, false}, {61, 1, 1, true}});
        runner.decode({{52, 2, 0, true}, {53, 3, 0, true}, {54, 4, 0, true}, {62, 2, 1, true}, {63, 3, 1, true}});
        llama_memory_seq_rm(memory, 0, 4, -1);  // 54 was wrong
        llama_memory_seq_rm(memory, 1, 4, -1);  // 63 was right
        runner.decode({{55, 4, 0, true}, {56, 5, 0, true}, {70, 0, 2, false}, {71, 1, 2, true}});
        llama_memory_seq_rm(memory, 0, 5, -1);
        llama_memory_seq_rm(memory, 1, 1, -1);  // begun anew
        llama_memory_seq_rm(memory, 2, -1, -1);
        runner.decode({{64, 1, 1, true}});
        llama_memory_clear(memory, true);
    });
    ASSERT_EQ(r.events.size(), 5u);
    EXPECT_EQ(r.events[0].taken_back, (std::vector<token_ref>{{1, 2}}));
    EXPECT_EQ(r.events[1].taken_back, (std::vector<token_ref>{{2, 1}}));
    std::vector<removal> kinds;
    for (const memory_event & e : r.events) {
        kinds.push_back(e.why);
    }
    EXPECT_EQ(kinds,
              (std::vector<removal>{removal::rejected, removal::rejected, removal::cut, removal::drop, removal::drop}));
    for (const row & x : r.rows()) {
        const bool generated = x.pos >= 2;  // 64 is where the text begins anew
        EXPECT_EQ(x.decode, generated && x.seq != 2) << "token " << x.token;
    }
}

}  // namespace
