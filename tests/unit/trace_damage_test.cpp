// Cut, flipped, and nonsensical traces: a clear error or a correct prefix, never a crash, never silently wrong numbers.

#include <algorithm>

#include <gtest/gtest.h>

#include "check/check.hpp"
#include "support/routing_builder.hpp"
#include "support/trace_kit.hpp"
#include "trace/chunks.hpp"

namespace moescope::trace {
namespace {

using namespace test;

// A trace of several small chunks, and what it holds.
struct small_trace {
    planted::plan                     plan;
    graph_layout                      layout;
    std::vector<planted::ubatch_data> ubatches;
    std::vector<std::string>          wanted;
    const scratch_folder              folder{scratch_folder::in_memory};
    std::string                       path = folder / "x.moetrace";
    std::string                       bytes;

    small_trace() {
        plan.layers      = {0, 1};
        plan.n_expert    = 8;
        plan.k           = 2;
        plan.columns     = column::ids | column::weights;
        plan.n_prompt    = 3;
        plan.n_generated = 2;
        layout           = planted::layout_of(plan);
        ubatches         = planted::make_ubatches(plan, layout);
        wanted           = expected(ubatches);
        writer_options options;
        options.flush_bytes = 1;  // every ubatch is a chunk
        trace_head head;
        head.program  = "planted";
        head.trace_id = 5;
        trace_writer writer(path, head, options);
        planted::feed(plan, ubatches, writer);
        writer.finish({"finished"});
        bytes = slurp(path);
    }
};

// How many ubatches a file of the first `size` bytes holds whole, and where its last whole chunk ends: by walking the
// grammar of docs/trace-format.md rather than with the reader.
std::pair<size_t, size_t> whole_prefix(const std::string & bytes, size_t size) {
    size_t at = 16, n = 0;
    while (at + 32 <= size) {
        uint32_t kind;
        uint64_t length;
        std::memcpy(&kind, &bytes[at + 4], 4);
        std::memcpy(&length, &bytes[at + 8], 8);
        const size_t next = at + 32 + (length + 7) / 8 * 8;
        if (next > size) {
            break;
        }
        n += kind == 6;  // each rows chunk holds one ubatch here
        at = next;
    }
    return {n, at};
}

TEST(trace_damage, cut_at_every_byte) {
    const small_trace t;
    const size_t      n_ubatches = t.ubatches.size();
    ASSERT_EQ(whole_prefix(t.bytes, t.bytes.size()), std::make_pair(n_ubatches, t.bytes.size()));
    for (size_t cut = 0; cut < t.bytes.size(); ++cut) {
        spill(t.path, t.bytes.substr(0, cut));
        const reading r       = read_all(t.path);
        const auto [n, whole] = whole_prefix(t.bytes, cut);
        ASSERT_FALSE(r.ended) << cut;
        if (!r.opened) {
            ASSERT_NE(r.problem, "") << cut;
            ASSERT_EQ(n, 0u) << "ubatches were there, at " << cut << ": " << r.problem;
            continue;
        }
        ASSERT_EQ(r.problem, "") << cut;
        ASSERT_EQ(r.ubatches.size(), n) << cut;
        ASSERT_TRUE(is_prefix(r.ubatches, t.wanted)) << cut;
        ASSERT_EQ(r.lost_bytes, cut - whole) << cut;
    }
}

TEST(trace_damage, check_says_how_much_a_cut_lost) {
    const small_trace t;
    for (size_t cut = t.bytes.size() - 200; cut < t.bytes.size(); cut += 13) {
        spill(t.path, t.bytes.substr(0, cut));
        const check::check_result r = check::check_trace(t.path);
        const auto [n, whole]       = whole_prefix(t.bytes, cut);
        ASSERT_EQ(r.parts.size(), 1u);
        EXPECT_EQ(r.parts[0].ubatches, n);
        EXPECT_EQ(r.parts[0].whole_bytes, whole);
        ASSERT_EQ(r.findings.size(), cut == whole ? 0u : 1u) << cut;
        if (cut != whole) {
            EXPECT_EQ(r.findings[0].name, "file-cut");
        }
    }
}

TEST(trace_damage, flip_every_bit) {
    const small_trace t;
    const reading     whole = read_all(t.path);
    ASSERT_EQ(whole.ubatches, t.wanted);
    size_t noticed = 0;
    for (size_t bit = 0; bit < t.bytes.size() * 8; ++bit) {
        std::string bytes = t.bytes;
        bytes[bit / 8]    = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
        spill(t.path, bytes);
        const reading r = read_all(t.path);
        ASSERT_TRUE(is_prefix(r.ubatches, t.wanted)) << "wrong numbers after a flip in byte " << bit / 8;
        if (r.problem.empty()) {  // then it hit what nothing reads: padding, or the reserved word behind the version
            ASSERT_EQ(r.ubatches, t.wanted) << "silently less, byte " << bit / 8;
            ASSERT_EQ(r.model, whole.model);
            ASSERT_TRUE(r.ended);
        }
        noticed += !r.problem.empty();
    }
    EXPECT_GT(noticed, t.bytes.size() * 8 * 9 / 10) << "nearly every bit matters";
}

TEST(trace_damage, check_finds_what_a_flip_broke) {
    const small_trace t;
    for (size_t byte = 16; byte < t.bytes.size(); byte += 5) {
        std::string bytes = t.bytes;
        bytes[byte]       = static_cast<char>(~bytes[byte]);
        spill(t.path, bytes);
        const bool                broken = !read_all(t.path).problem.empty();
        const check::check_result r      = check::check_trace(t.path);
        ASSERT_EQ(!r.findings.empty(), broken) << byte;
        if (broken) {
            EXPECT_EQ(r.findings[0].name, "file-damaged");
            spill(t.path, bytes.substr(0, r.parts.at(0).whole_bytes));  // what check says can be saved
            const reading saved = read_all(t.path);
            EXPECT_TRUE(saved.opened ? saved.problem.empty() : saved.ubatches.empty()) << byte;
            EXPECT_EQ(saved.ubatches.size(), r.parts[0].ubatches);
        }
    }
}

// ---- nonsense ----------------------------------------------------------------------------------------------------

struct random_bytes {
    uint64_t state;
    uint32_t next() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(state >> 33);
    }
};

// Reads through every entry point; only moescope::error may come out.
void read_whatever_it_is(const std::string & path) {
    read_all(path);
    try {
        check::check_trace(path);
        trace_reader reader(path);
        reader.counts();
        reader.blocks();
    } catch (const error &) {
    }
}

TEST(trace_damage, random_bytes_are_no_trace) {
    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    path = folder / "x.moetrace";
    random_bytes         random{1};
    for (int i = 0; i < 300; ++i) {
        std::string bytes(random.next() % 400, '\0');
        for (char & c : bytes) {
            c = static_cast<char>(random.next());
        }
        spill(path, bytes);
        const reading r = read_all(path);
        EXPECT_FALSE(r.opened);
        EXPECT_NE(r.problem, "");
        if (bytes.size() >= 16) {  // the same behind a right beginning
            std::memcpy(bytes.data(), "MOETRACE\1\0\0\0\0\0\0\0", 16);
            spill(path, bytes);
            EXPECT_EQ(read_all(path).ubatches.size(), 0u);
        }
    }
}

// A hostile or buggy writer: payloads changed at random under checksums that fit.
TEST(trace_damage, nonsense_under_right_checksums_does_not_crash) {
    const small_trace        t;
    const chunk_list         list(t.path);
    std::vector<chunk_place> chunks;
    for (uint64_t at = sizeof(file_header); at < list.runs().back().end; at = chunk_list::next_of(chunks.back())) {
        chunks.push_back(list.chunk_at(at));
    }
    random_bytes random{2};
    for (int i = 0; i < 1000; ++i) {
        std::string         bytes = t.bytes;
        const chunk_place & c     = chunks[random.next() % chunks.size()];
        if (c.size == 0) {
            continue;
        }
        for (uint32_t n = 1 + random.next() % 4; n > 0; --n) {
            static constexpr uint32_t values[] = {0, 1, 0x7fffffff, 0xffffffff, 0x40000000, 0x80000000, 255};
            const size_t              at       = c.offset + random.next() % c.size / 4 * 4;
            const uint32_t            v        = random.next() % 2 ? values[random.next() % 7] : random.next();
            std::memcpy(&bytes[at], &v, std::min<size_t>(4, c.offset + c.size - at));
        }
        const chunk_header h = make_chunk_header(c.kind, &bytes[c.offset], c.size);
        std::memcpy(&bytes[c.offset - sizeof(h)], &h, sizeof(h));
        spill(t.path, bytes);
        read_whatever_it_is(t.path);
    }
}

// Whoever counts experts makes room for a block's when it first sees the block.
TEST(trace_damage, another_number_of_experts_in_a_later_graph_is_refused) {
    const auto one_token = [](uint32_t n_expert, uint32_t k) {
        test::routing_builder t({test::block_of(0, n_expert, k)});
        t.token(0, 0, {{std::vector<uint32_t>(k, n_expert - 1)}});
        return t;
    };
    for (const auto & [n_expert, k] : {std::pair(300u, 1u), std::pair(7u, 1u), std::pair(8u, 2u)}) {
        const scratch_folder folder{scratch_folder::in_memory};
        const std::string    path = folder / "x.moetrace";
        trace_writer         writer(path, {}, {});
        one_token(8, 1).feed(writer);
        one_token(n_expert, k).feed(writer);
        writer.finish({"finished"});
        const std::string problem = read_all(path).problem;
        if (n_expert == 8) {  // as many as before, of which a row selects more: a warm-up, say
            EXPECT_EQ(problem, "");
        } else {
            EXPECT_NE(problem.find("a layer whose number of experts changes"), std::string::npos) << problem;
        }
    }
}

TEST(trace_damage, another_version_is_named) {
    small_trace t;
    for (const uint8_t unknown : {uint8_t{0}, static_cast<uint8_t>(format_version + 1)}) {
        t.bytes[8] = unknown;
        spill(t.path, t.bytes);
        EXPECT_NE(read_all(t.path).problem.find("version " + std::to_string(unknown)), std::string::npos);
    }
}

// A newer moescope of the same format version may add kinds of chunk.
TEST(trace_damage, unknown_chunks_are_skipped) {
    const small_trace  t;
    const std::string  payload = "from the future.";
    const chunk_header h       = make_chunk_header(static_cast<chunk_kind>(77), payload.data(), payload.size());
    const auto         at      = whole_prefix(t.bytes, t.bytes.size() / 2).second;
    spill(t.path, t.bytes.substr(0, at) + std::string(reinterpret_cast<const char *>(&h), sizeof(h)) + payload +
                      t.bytes.substr(at));
    const reading r = read_all(t.path);
    EXPECT_EQ(r.problem, "");
    EXPECT_EQ(r.ubatches, t.wanted);
}

}  // namespace
}  // namespace moescope::trace
