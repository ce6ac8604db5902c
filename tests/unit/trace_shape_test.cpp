// Frames of one shape, read one after the other: the reader takes a short way from one to the next, and must notice in each
// what differs.

#include <gtest/gtest.h>

#include "support/trace_kit.hpp"
#include "trace/chunks.hpp"

namespace moescope::trace {
namespace {

using namespace test;

planted::plan decoding() {
    planted::plan p;
    p.n_expert    = 8;
    p.k           = 2;
    p.columns     = column::ids | column::weights;
    p.n_prompt    = 2;
    p.n_generated = 6;
    return p;
}

struct written {
    const scratch_folder     folder{scratch_folder::in_memory};
    std::string              path = folder / "x.moetrace";
    std::vector<std::string> wanted;

    written(const planted::plan & p, const std::vector<planted::ubatch_data> & ubatches) {
        trace_head head;
        head.trace_id = 5;
        writer_options options;
        options.flush_bytes = 1;  // every ubatch is a chunk
        trace_writer writer(path, head, options);
        planted::feed(p, ubatches, writer);
        writer.finish({"finished"});
        wanted = expected(ubatches);
    }
};

TEST(trace_shape, each_frames_ids_and_phases_are_checked) {
    const planted::plan p      = decoding();
    const graph_layout  layout = planted::layout_of(p);
    const written       t(p, planted::make_ubatches(p, layout));
    const std::string   bytes = slurp(t.path);
    const chunk_list    list(t.path);

    size_t n = 0, tried = 0;
    for (uint64_t at = sizeof(file_header); at < list.runs().back().end;) {
        const chunk_place c = list.chunk_at(at);
        at                  = chunk_list::next_of(c);
        if (c.kind != chunk_kind::rows) {
            continue;
        }
        frame_header h;
        std::memcpy(&h, &bytes[c.offset], sizeof(h));
        if (h.n_tokens == 1) {
            // Behind the token's numbers come its phase and the blocks' row counts, then the first block's ids.
            const size_t phase    = c.offset + sizeof(h) + 3 * sizeof(int32_t);
            const size_t first_id = phase + 4 + layout.size() * sizeof(int32_t);
            const auto   refused  = [&](size_t where, char value, const char * why) {
                std::string wrong         = bytes;
                wrong[where]              = value;
                const chunk_header header = make_chunk_header(c.kind, &wrong[c.offset], c.size);
                std::memcpy(&wrong[c.offset - sizeof(header)], &header, sizeof(header));
                spill(t.path, wrong);
                const reading r = read_all(t.path);
                EXPECT_NE(r.problem.find(why), std::string::npos) << r.problem;
                EXPECT_EQ(r.ubatches.size(), n);
                EXPECT_TRUE(is_prefix(r.ubatches, t.wanted));
            };
            refused(first_id, 8, "an expert id that the layer does not have");
            refused(phase, 2, "a token of an unknown phase");
            tried += 1;
        }
        n += 1;
    }
    EXPECT_EQ(tried, p.n_generated);
}

TEST(trace_shape, layouts_of_one_size_are_told_apart) {
    planted::plan p = decoding(), other = decoding();
    other.layers              = {4, 5, 6};
    const graph_layout layout = planted::layout_of(p), other_layout = planted::layout_of(other);
    const auto         a = planted::make_ubatches(p, layout), b = planted::make_ubatches(other, other_layout);
    std::vector<planted::ubatch_data> mixed;
    for (size_t i = 0; i < a.size(); ++i) {
        for (const auto & u : {a[i], b[i], a[i]}) {
            mixed.push_back(u);  // its views stay those of a and b
        }
    }
    const written t(p, mixed);
    const reading r = read_all(t.path);
    EXPECT_EQ(r.problem, "");
    EXPECT_EQ(r.ubatches, t.wanted);
}

// Two blocks change their numbers of rows for each other's: same layout, same size, same tokens.
TEST(trace_shape, row_counts_are_told_apart) {
    planted::plan p             = decoding();
    p.n_generated               = 0;
    p.layers                    = {1, 2};
    p.n_prompt                  = 2;
    p.last_only                 = false;
    const graph_layout layout   = planted::layout_of(p);
    const auto         ubatches = planted::make_ubatches(p, layout);
    ASSERT_EQ(ubatches.size(), 1u);
    std::vector<planted::ubatch_data> mixed;
    for (const size_t shorter : {0u, 1u, 1u, 0u, 0u}) {
        mixed.push_back(ubatches[0]);
        mixed.back().blocks[shorter].n_rows = 1;
        mixed.back().view.blocks            = mixed.back().blocks;
    }
    const written t(p, mixed);
    const reading r = read_all(t.path);
    EXPECT_EQ(r.problem, "");
    EXPECT_EQ(r.ubatches, t.wanted);
}

}  // namespace
}  // namespace moescope::trace
