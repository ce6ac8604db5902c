// What goes into a trace comes out of it, bit for bit, for every column, width of ids and way to store them.

#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

#include "core/version.hpp"
#include "support/trace_kit.hpp"

namespace moescope::trace {
namespace {

using namespace test;

trace_head a_head() {
    trace_head h;
    h.program  = "planted";
    h.trace_id = 99;
    h.captured = column_set::all();
    return h;
}

struct round_trip : testing::TestWithParam<std::tuple<uint32_t, bool>> {};

TEST_P(round_trip, every_column) {
    const auto [n_expert, f16] = GetParam();
    planted::plan p;
    p.n_expert     = n_expert;
    p.second_block = true;
    p.n_prompt     = 4;
    p.n_generated  = 2;
    if (n_expert > 1000) {  // whole rows of scores would be megabytes
        p.columns = column::ids | column::weights | column::weights_raw | column::norms | column::gate_input;
    }
    const graph_layout layout   = planted::layout_of(p);
    auto               ubatches = planted::make_ubatches(p, layout);

    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    path = folder / "x.moetrace";
    writer_options       options;
    options.f16 = f16;
    trace_writer writer(path, a_head(), options);
    planted::feed(p, ubatches, writer);
    writer.finish({"finished", 5, 1});

    if (f16) {  // what is read is what half precision keeps
        for (auto & u : ubatches) {
            for (size_t b = 0; b < layout.size(); ++b) {
                for (size_t c = 0; c < n_float_columns; ++c) {
                    float *      values = u.owner.values(b, c);
                    const size_t n      = u.blocks[b].n_rows * size_t{layout[b].width(float_columns[c])};
                    for (size_t i = 0; values != nullptr && i < n; ++i) {
                        values[i] = from_f16(to_f16(values[i]));
                    }
                }
            }
        }
    }
    const reading r = read_all(path);
    EXPECT_EQ(r.problem, "");
    EXPECT_TRUE(r.ended);
    EXPECT_EQ(r.lost_bytes, 0u);
    EXPECT_EQ(r.ubatches, expected(ubatches));
}

// 256 experts need one byte for an id, 257 need two; 65536 two, 65537 four.
INSTANTIATE_TEST_SUITE_P(Widths, round_trip,
                         testing::Combine(testing::Values(8u, 256u, 257u, 65536u, 65537u, 70001u), testing::Bool()));

TEST(trace_round_trip, keeps_what_is_unknown) {
    planted::plan p;
    p.unknown                            = true;
    const graph_layout         layout    = planted::layout_of(p);
    auto                       ubatches  = planted::make_ubatches(p, layout);
    const std::vector<int32_t> row_token = {1, -1, 0};  // a row that belongs to no known token
    ubatches[0].blocks[0].row_token      = row_token;
    ubatches[1].blocks[1].n_rows         = 0;  // a block that computed nothing

    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    path = folder / "x.moetrace";
    trace_writer         writer(path, a_head(), {});
    planted::feed(p, ubatches, writer);
    writer.flush();
    EXPECT_EQ(read_all(path).ubatches, expected(ubatches));
}

TEST(trace_round_trip, keeps_model_pieces_notes_and_access) {
    planted::plan      p;
    const graph_layout layout   = planted::layout_of(p);
    auto               ubatches = planted::make_ubatches(p, layout);
    const access_list  access   = {{"MUL_MAT_ID", "x-1", 1, 0, {"a", "bc", "def"}}, {"MUL_MAT", "y", -1, -1, {}}};

    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    path = folder / "x.moetrace";
    {
        trace_writer writer(path, a_head(), {});
        EXPECT_EQ(writer.access({{"OTHER", "", 0, -1, {}}}), 1u);
        EXPECT_EQ(writer.access(access), 2u);
        EXPECT_EQ(writer.access(access), 2u) << "the same list is stored once";
        for (auto & u : ubatches) {
            u.view.access = 2;
        }
        planted::feed(p, ubatches, writer);
        writer.note("a note\nof two lines");
        writer.finish({"exit", 123, 45});
    }
    EXPECT_EQ(read_all(path).ubatches, expected(ubatches, &access));

    trace_reader     reader(path);
    const model_info wanted = planted::model_of(p);
    EXPECT_EQ(reader.model().architecture, wanted.architecture);
    EXPECT_EQ(reader.model().name, wanted.name);
    EXPECT_EQ(reader.model().file_size, wanted.file_size);
    EXPECT_EQ(reader.model().n_layer, wanted.n_layer);
    EXPECT_EQ(reader.model().n_expert_used, wanted.n_expert_used);
    EXPECT_EQ(reader.model().n_vocab, wanted.n_vocab);
    EXPECT_EQ(reader.model().metadata, wanted.metadata);
    EXPECT_EQ(reader.info().notes, std::vector<std::string>{"a note\nof two lines"});
    EXPECT_EQ(reader.info().end_reason, "exit");
    EXPECT_EQ(reader.info().run_ns, 123u);
    EXPECT_EQ(reader.info().capture_ns, 45u);
    EXPECT_EQ(reader.info().program, "planted");
    EXPECT_EQ(reader.info().writer_version, moescope::version);
    for (const auto & u : ubatches) {
        for (const int32_t t : u.view.token) {
            ASSERT_NE(reader.piece(t), nullptr);
            EXPECT_EQ(*reader.piece(t), planted::piece_of(t));
        }
    }
    EXPECT_EQ(reader.piece(5), nullptr);
}

// Counts by the formulas, not by the code under test.
std::vector<std::vector<uint64_t>> count_by_hand(const planted::plan & p) {
    std::vector<std::vector<uint64_t>> counts(p.layers.size(), std::vector<uint64_t>(p.n_expert));
    for (size_t l = 0; l < p.layers.size(); ++l) {
        for (uint32_t pos = 0; pos < p.n_prompt + p.n_generated; ++pos) {
            const bool ends_ubatch = pos >= p.n_prompt || pos % p.n_ubatch == p.n_ubatch - 1 || pos == p.n_prompt - 1;
            for (uint32_t rank = 0; rank < p.k && (l + 1 < p.layers.size() || ends_ubatch); ++rank) {
                counts[l][planted::id_of(p, p.layers[l], static_cast<int32_t>(pos), 0, rank)] += 1;
            }
        }
    }
    return counts;
}

TEST(trace_round_trip, counts_only_holds_the_same_counts) {
    planted::plan        p;
    const graph_layout   layout   = planted::layout_of(p);
    const auto           ubatches = planted::make_ubatches(p, layout);
    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    rows = (folder / "rows.moetrace"), counts = folder / "counts.moetrace";
    for (const bool counts_only : {false, true}) {
        writer_options options;
        options.counts_only = counts_only;
        trace_writer writer(counts_only ? counts : rows, a_head(), options);
        planted::feed(p, ubatches, writer);
        writer.finish({"finished"});
    }
    const auto wanted = count_by_hand(p);
    for (const std::string & path : {rows, counts}) {
        trace_reader        reader(path);
        const expert_counts c = reader.counts();
        EXPECT_EQ(c.tokens, p.n_prompt + p.n_generated);
        EXPECT_EQ(c.decoded, p.n_generated);
        ASSERT_EQ(c.blocks.size(), wanted.size());
        for (size_t l = 0; l < wanted.size(); ++l) {
            EXPECT_EQ(c.blocks[l].count, wanted[l]) << path << ", layer " << p.layers[l];
            EXPECT_EQ(c.blocks[l].rows_decoded, p.n_generated);
        }
    }
    trace_reader  reader(counts);
    routed_ubatch u;
    EXPECT_TRUE(reader.info().counts_only);
    EXPECT_FALSE(reader.next(u));
}

TEST(trace_round_trip, counts_grow_when_a_later_graph_knows_more_experts) {
    planted::plan small, large;
    small.n_expert               = 8;
    large.n_expert               = 32;
    const graph_layout layouts[] = {planted::layout_of(small), planted::layout_of(large)};
    const auto         a = planted::make_ubatches(small, layouts[0]), b = planted::make_ubatches(large, layouts[1]);
    expert_counts      c;
    uint64_t           selections = 0;
    for (const auto * list : {&a, &b}) {
        for (const auto & u : *list) {
            c.add(u.view);
            selections += u.blocks[0].n_rows * small.k;
        }
    }
    uint64_t counted = 0;
    for (const uint64_t n : c.blocks[0].count) {
        counted += n;
    }
    EXPECT_EQ(counted, selections) << "no selection is dropped";
}

// ---- parts -------------------------------------------------------------------------------------------------------

struct rolled {
    planted::plan                     plan;
    graph_layout                      layout;
    std::vector<planted::ubatch_data> ubatches;
    const scratch_folder              folder{scratch_folder::in_memory};
    std::string                       path = folder / "x.moetrace";
    std::vector<std::string>          parts;

    rolled() {
        plan.n_generated = 40;
        layout           = planted::layout_of(plan);
        ubatches         = planted::make_ubatches(plan, layout);
        writer_options options;
        options.max_size    = 12'000;
        options.flush_bytes = 4'000;
        trace_writer writer(path, a_head(), options);
        planted::feed(plan, ubatches, writer);
        writer.finish({"finished"});
        parts = {path};
        for (uint32_t n = 2; ::access(part_path(path, n).c_str(), F_OK) == 0; ++n) {
            parts.push_back(folder / (part_path("x.moetrace", n)));
        }
    }
};

TEST(trace_parts, read_as_one) {
    rolled t;
    ASSERT_GE(t.parts.size(), 3u);
    for (const std::string & part : t.parts) {
        EXPECT_LE(slurp(part).size(), 12'000u + 4'500u);
    }
    const reading r = read_all(t.path);
    EXPECT_EQ(r.problem, "");
    EXPECT_EQ(r.ubatches, expected(t.ubatches));
    EXPECT_TRUE(r.ended);
    EXPECT_EQ(r.unread_part, "");
}

TEST(trace_parts, read_as_one_after_a_rename) {
    rolled                   t;
    std::vector<std::string> renamed = {t.folder / "y.moetrace"};
    for (uint32_t n = 2; n <= t.parts.size(); ++n) {
        renamed.push_back(t.folder / part_path("y.moetrace", n));
    }
    for (size_t i = 0; i < renamed.size(); ++i) {
        ASSERT_EQ(std::rename(t.parts[i].c_str(), renamed[i].c_str()), 0);
    }
    EXPECT_EQ(read_all(renamed[0]).ubatches, expected(t.ubatches));
}

TEST(trace_parts, a_missing_part_is_named) {
    rolled t;
    ::unlink(t.parts[1].c_str());
    const reading r = read_all(t.path);
    EXPECT_TRUE(is_prefix(r.ubatches, expected(t.ubatches)));
    EXPECT_LT(r.ubatches.size(), t.ubatches.size());
    EXPECT_EQ(r.unread_part, t.parts[1]);
    EXPECT_FALSE(r.ended);
}

TEST(trace_parts, a_cut_part_leaves_no_hole) {
    rolled            t;
    const std::string whole = slurp(t.path);
    for (size_t cut = whole.size() - 300; cut < whole.size(); cut += 7) {
        spill(t.path, whole.substr(0, cut));
        const reading r = read_all(t.path);
        ASSERT_EQ(r.problem, "");
        ASSERT_TRUE(is_prefix(r.ubatches, expected(t.ubatches))) << "a later part was read behind a hole";
        ASSERT_LT(r.ubatches.size(), t.ubatches.size());
        // The last bytes are padding that nothing reads, but a cut through them loses the chunk that names the next part.
        ASSERT_EQ(r.unread_part, t.parts[1]) << cut;
    }
}

TEST(trace_parts, another_traces_file_is_not_joined) {
    rolled       t, other;
    std::string  bytes = slurp(other.parts[1]);
    const size_t at    = bytes.find("99");  // its trace_id; the checksum no longer fits either
    bytes[at]          = '8';
    spill(t.parts[1], bytes);
    const reading r = read_all(t.path);
    EXPECT_TRUE(is_prefix(r.ubatches, expected(t.ubatches)));
    EXPECT_EQ(r.unread_part, t.parts[1]);
}

TEST(trace_parts, a_reader_follows_them_while_they_grow) {
    planted::plan p;
    p.n_generated                 = 40;
    const graph_layout   layout   = planted::layout_of(p);
    const auto           ubatches = planted::make_ubatches(p, layout);
    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    path = folder / "x.moetrace";
    for (uint32_t n = 2; n < 12; ++n) {
        (folder / (part_path("x.moetrace", n)));
    }
    writer_options options;
    options.max_size    = 6'000;
    options.flush_bytes = 1;  // every ubatch is a chunk
    trace_writer writer(path, a_head(), options);
    writer.model(planted::model_of(p));
    trace_reader             reader(path);
    std::vector<std::string> seen;
    for (const auto & u : ubatches) {
        writer.ubatch(u.view);
        EXPECT_TRUE(reader.refresh());
        for (routed_ubatch v; reader.next(v);) {
            seen.push_back(bytes_of(v, nullptr));
        }
    }
    EXPECT_FALSE(reader.refresh());
    EXPECT_GT(reader.info().n_parts, 2u);
    EXPECT_EQ(seen, expected(ubatches));
    size_t held = 0;
    for (const auto & fd : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        held += std::filesystem::read_symlink(fd, gone).string().find(".moetrace") != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(held, 2u);  // the writer's and the reader's last parts
}

TEST(trace_reader, seeks_to_any_ubatch_and_keeps_no_list_of_their_chunks) {
    planted::plan p;
    p.n_generated                 = 200;
    const graph_layout   layout   = planted::layout_of(p);
    const auto           ubatches = planted::make_ubatches(p, layout);
    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    path = folder / "x.moetrace";
    writer_options       options;
    options.flush_bytes = 1;  // every ubatch is a chunk
    trace_writer writer(path, a_head(), options);
    for (const auto & u : ubatches) {
        writer.ubatch(u.view);
    }
    writer.finish({"finished", 0, 0});
    EXPECT_LT(chunk_list(path).runs().size(), 12u);  // head, layouts, end, and the rows between them

    trace_reader             reader(path), other(path);
    std::vector<position>    at;
    std::vector<std::string> seen;
    for (routed_ubatch u;; seen.push_back(bytes_of(u, nullptr))) {
        at.push_back(reader.tell().value());
        if (!reader.next(u)) {
            break;
        }
    }
    ASSERT_EQ(seen, expected(ubatches));
    for (size_t i = seen.size(); i-- > 0;) {  // the other reader goes backwards
        routed_ubatch u;
        other.seek(at[i]);
        ASSERT_TRUE(other.next(u));
        ASSERT_EQ(bytes_of(u, nullptr), seen[i]) << i;
    }
}

// ---- half precision ----------------------------------------------------------------------------------------------

TEST(trace_half, every_half_comes_back) {
    for (uint32_t h = 0; h < 0x10000; ++h) {
        const float v = from_f16(static_cast<uint16_t>(h));
        if (std::isnan(v)) {
            EXPECT_TRUE(std::isnan(from_f16(to_f16(v))));
        } else {
            ASSERT_EQ(to_f16(v), h);
        }
    }
    EXPECT_EQ(from_f16(0x3c00), 1.0f);
    EXPECT_EQ(from_f16(0x0001), std::ldexp(1.0f, -24));
    EXPECT_EQ(from_f16(0x7bff), 65504.0f);
}

TEST(trace_half, rounds_to_the_nearest_and_halfway_to_even) {
    for (uint32_t h = 0; h < 0x7bff; ++h) {
        const float a = from_f16(static_cast<uint16_t>(h)), b = from_f16(static_cast<uint16_t>(h + 1));
        const float middle = a + (b - a) / 2;  // exact: a float has 13 bits more
        ASSERT_EQ(to_f16(middle), h % 2 == 0 ? h : h + 1);
        ASSERT_EQ(to_f16(std::nextafter(middle, b)), h + 1);
        ASSERT_EQ(to_f16(std::nextafter(middle, a)), h);
        ASSERT_EQ(to_f16(-middle), 0x8000 | (h % 2 == 0 ? h : h + 1));
    }
    EXPECT_EQ(to_f16(65519.0f), 0x7bff);
    EXPECT_EQ(to_f16(65520.0f), 0x7c00) << "halfway to the next power goes to infinity";
}

}  // namespace
}  // namespace moescope::trace
