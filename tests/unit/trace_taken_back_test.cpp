// Tokens that the program took back: found again by the reader, left out with their rows, whatever part they lie in.

#include <memory>

#include <gtest/gtest.h>

#include "support/trace_kit.hpp"
#include "trace/reader.hpp"
#include "trace/writer.hpp"

namespace moescope::trace {
namespace {

using namespace test;

constexpr uint32_t n_expert = 8, k = 2;

// The experts of a token at a position, in layer il: told apart from those of every neighbour.
uint32_t expert(int32_t pos, int32_t token, uint32_t rank, int32_t il) {
    return static_cast<uint32_t>(pos * 3 + token * 5 + il + int32_t(rank) * 4) % n_expert;
}

struct piece_of_text {
    std::vector<int32_t> tokens;
    int32_t              pos;
    phase                how;
};

void put_text(trace_writer & w, const piece_of_text & t, uint32_t batch) {
    ubatch_buffer u;
    u.batch = batch;
    u.set_tokens(t.tokens.size());
    for (size_t i = 0; i < t.tokens.size(); ++i) {
        u.token[i]  = t.tokens[i];
        u.pos[i]    = t.pos + static_cast<int32_t>(i);
        u.seq[i]    = 0;
        u.phases[i] = static_cast<uint8_t>(t.how);
    }
    for (int32_t il = 0; il < 2; ++il) {
        block_layout l;
        l.layer         = il;
        l.n_expert      = n_expert;
        l.n_expert_used = k;
        l.columns       = column::ids | column::weights;
        u.layout.push_back(l);
    }
    for (int32_t il = 0; il < 2; ++il) {
        u.add_block(static_cast<uint32_t>(t.tokens.size()), false);
        for (size_t i = 0; i < t.tokens.size(); ++i) {
            for (uint32_t r = 0; r < k; ++r) {
                u.set_id(i * k + r, expert(u.pos[i], u.token[i], r, il));
                u.values(column_index(column::weights))[i * k + r] = float(u.pos[i]) + 0.25f * float(r);
            }
        }
    }
    w.ubatch(u.view());
}

memory_event rejection(uint64_t n_ubatches, int32_t p0, int32_t last, std::vector<token_ref> tokens) {
    memory_event e;
    e.seq        = 0;
    e.p0         = p0;
    e.last       = last;
    e.why        = memory_event::removal::rejected;
    e.n_ubatches = n_ubatches;
    e.taken_back = std::move(tokens);
    return e;
}

// A prompt, three verified drafts (of which two, none and two are accepted, the last in another part of the trace than its
// rejection may be), a token by itself, one that a draft model only tried, and the end of the conversation.
void write_speculation(const std::string & path, writer_options o) {
    trace_head head;
    head.trace_id = 7;
    trace_writer w(path, head, o);
    put_text(w, {{1, 2, 3}, 0, phase::prefill}, 0);
    put_text(w, {{4, 5, 6, 90}, 3, phase::decode}, 1);
    w.memory(rejection(2, 6, 6, {{1, 3}}));
    put_text(w, {{7, 91, 92}, 6, phase::decode}, 2);
    w.memory(rejection(3, 7, 8, {{2, 1}, {2, 2}}));
    put_text(w, {{93}, 7, phase::decode}, 3);
    w.memory(rejection(4, 7, 7, {{3, 0}, {3, 0}}));  // said twice: taken back once
    put_text(w, {{8}, 7, phase::decode}, 4);
    memory_event end;
    end.seq        = 0;
    end.last       = 7;
    end.n_ubatches = 5;
    end.why        = memory_event::removal::drop;
    w.memory(end);
    w.finish({"finished", 1, 0});
}

std::vector<int32_t> tokens_of(trace_source & source) {
    std::vector<int32_t> tokens;
    source.rewind();
    for (routed_ubatch u; source.next(u);) {
        tokens.insert(tokens.end(), u.token.begin(), u.token.end());
        for (const block_rows & b : u.blocks) {
            EXPECT_EQ(b.n_rows, u.n_tokens());
            for (uint32_t r = 0; r < b.n_rows; ++r) {
                const auto t = static_cast<size_t>(b.token_of(r));
                for (uint32_t j = 0; j < k; ++j) {
                    EXPECT_EQ(b.id(size_t{r} * k + j), expert(u.pos[t], u.token[t], j, b.layout->layer));
                    EXPECT_EQ(b.values_of(column::weights)[size_t{r} * k + j], float(u.pos[t]) + 0.25f * float(j));
                }
            }
        }
    }
    return tokens;
}

TEST(taken_back, is_left_out_unless_asked_for) {
    for (const uint64_t max_size : {uint64_t{0}, uint64_t{1}}) {  // in one part, and each ubatch in one of its own
        const scratch_folder folder{scratch_folder::in_memory};
        writer_options       o;
        o.max_size = max_size;
        if (max_size > 0) {
            o.flush_bytes = 1;
        }
        write_speculation(folder / "t.moetrace", o);
        trace_reader r(folder / "t.moetrace");
        EXPECT_EQ(r.info().taken_back, 4u);
        EXPECT_EQ(r.info().removed[size_t(memory_event::removal::drop)].positions, 8u);
        EXPECT_EQ(tokens_of(r), (std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 8})) << r.info().n_parts << " parts";
        EXPECT_EQ(r.counts().tokens, 8u);
        r.include_taken_back(true);
        EXPECT_EQ(tokens_of(r), (std::vector<int32_t>{1, 2, 3, 4, 5, 6, 90, 7, 91, 92, 93, 8}));
        EXPECT_EQ(r.counts().tokens, 12u);
    }
}

TEST(taken_back, a_place_in_the_trace_stays_the_place) {
    const scratch_folder folder{scratch_folder::in_memory};
    writer_options       o;
    o.flush_bytes = 1;
    write_speculation(folder / "t.moetrace", o);
    trace_reader  r(folder / "t.moetrace"), other(folder / "t.moetrace");
    routed_ubatch u;
    ASSERT_TRUE(r.next(u));
    ASSERT_TRUE(r.next(u));
    other.seek(*r.tell());
    ASSERT_TRUE(other.next(u));
    EXPECT_EQ(u.n_tokens(), 1u);
    EXPECT_EQ(u.token[0], 7);
    ASSERT_EQ(u.memory.size(), 1u);
    EXPECT_EQ(u.memory[0].p0, 6);
    ASSERT_TRUE(other.next(u));
    EXPECT_EQ(u.token[0], 8) << "nothing is left of the ubatch before";
    EXPECT_EQ(u.memory.size(), 2u);
}

// A trace of counts alone has those of the text.
TEST(taken_back, is_not_counted) {
    const scratch_folder folder{scratch_folder::in_memory};
    writer_options       o;
    write_speculation(folder / "rows.moetrace", o);
    o.counts_only = true;
    write_speculation(folder / "counts.moetrace", o);
    const expert_counts rows   = trace_reader(folder / "rows.moetrace").counts();
    const expert_counts counts = trace_reader(folder / "counts.moetrace").counts();
    EXPECT_EQ(counts.tokens, 8u);
    EXPECT_EQ(counts.decoded, 5u);
    ASSERT_EQ(counts.blocks.size(), rows.blocks.size());
    for (size_t i = 0; i < rows.blocks.size(); ++i) {
        EXPECT_EQ(counts.blocks[i].count, rows.blocks[i].count);
        EXPECT_EQ(counts.blocks[i].rows, 8u);
        EXPECT_EQ(counts.blocks[i].rows_decoded, 5u);
    }
}

// Who reads a trace that grows never sees drafts before it is known what became of them.
TEST(taken_back, drafts_wait_for_their_verdict) {
    const scratch_folder folder{scratch_folder::in_memory};
    writer_options       o;
    o.flush_bytes = 1;
    trace_head   head;
    trace_writer w(folder / "t.moetrace", head, o);
    put_text(w, {{1, 2, 3}, 0, phase::prefill}, 0);
    trace_reader r(folder / "t.moetrace");
    EXPECT_EQ(tokens_of(r), (std::vector<int32_t>{1, 2, 3}));
    put_text(w, {{4, 90}, 3, phase::decode}, 1);
    r.refresh();
    EXPECT_EQ(tokens_of(r), (std::vector<int32_t>{1, 2, 3}));
    EXPECT_TRUE(w.pending());
    w.memory(rejection(2, 4, 4, {{1, 1}}));
    r.refresh();
    EXPECT_EQ(tokens_of(r), (std::vector<int32_t>{1, 2, 3, 4}));
    put_text(w, {{5}, 4, phase::decode}, 2);
    r.refresh();
    EXPECT_EQ(tokens_of(r), (std::vector<int32_t>{1, 2, 3, 4, 5}));
}

// Tokens that a hostile file takes back, and that are not there.
TEST(taken_back, what_is_not_there_is_not_missed) {
    const scratch_folder folder{scratch_folder::in_memory};
    {
        trace_writer w(folder / "t.moetrace", {}, {});
        put_text(w, {{1, 2, 3}, 0, phase::prefill}, 0);
        w.memory(rejection(1, 1, 1, {{0, 1}, {0, 3}, {0, 0xffffffff}, {77, 0}}));
    }
    trace_reader r(folder / "t.moetrace");
    EXPECT_EQ(tokens_of(r), (std::vector<int32_t>{1, 3}));
}

// The events of the test below: i % 3 of them before ubatch i.
void expect_events_of(const routed_ubatch & u) {
    const int i = u.token[0];
    ASSERT_EQ(u.memory.size(), size_t(i % 3)) << i;
    for (int j = 0; j < i % 3; ++j) {
        EXPECT_EQ(u.memory[size_t(j)].seq, i);
        EXPECT_EQ(u.memory[size_t(j)].last, j);
    }
}

// A server does something to its memory for each request, for days.
TEST(memory_events, come_before_their_ubatches_and_take_no_memory) {
    const scratch_folder folder{scratch_folder::in_memory};
    for (const uint64_t max_size : {0, 4096}) {
        writer_options o;
        o.flush_bytes = 1;  // a chunk of events and one of rows for each
        o.max_size    = max_size;
        trace_head head;
        head.trace_id                      = 7;
        const std::string             path = folder / ("t" + std::to_string(max_size) + ".moetrace");
        trace_writer                  w(path, head, o);
        constexpr int                 n = 300;
        std::unique_ptr<trace_reader> live;
        for (int i = 0; i < n; ++i) {
            for (int j = 0; j < i % 3; ++j) {  // before ubatch i
                memory_event e;
                e.seq        = i;
                e.last       = j;
                e.why        = memory_event::removal::drop;
                e.n_ubatches = static_cast<uint64_t>(i);
                w.memory(e);
            }
            put_text(w, {{i}, i, phase::decode}, static_cast<uint32_t>(i));
            if (live) {
                live->refresh();
            } else {
                live = std::make_unique<trace_reader>(path);
            }
            routed_ubatch u;
            ASSERT_TRUE(live->next(u));
            expect_events_of(u);
        }
        w.finish({"finished", 1, 0});
        EXPECT_EQ(live->info().removed[size_t(memory_event::removal::drop)].times, 300u);
        trace_reader reader(path), other(path);
        EXPECT_EQ(reader.info().n_parts > 3, max_size > 0);
        EXPECT_EQ(reader.info().removed[size_t(memory_event::removal::drop)].times, 300u);
        for (const std::string & part : reader.part_paths()) {
            EXPECT_LT(chunk_list(part).runs().size(), 10u);
        }
        for (int i = 0; i < n; ++i) {
            routed_ubatch u, again;
            other.seek(*reader.tell());
            ASSERT_TRUE(reader.next(u));
            ASSERT_TRUE(other.next(again));
            EXPECT_EQ(u.token[0], i);
            EXPECT_EQ(again.token[0], i);
            expect_events_of(u);
            expect_events_of(again);
        }
    }
}

}  // namespace
}  // namespace moescope::trace
