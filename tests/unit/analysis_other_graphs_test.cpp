// Graphs of one run may differ in how many experts a row of the same block selects: a warm-up selects all of them.

#include <cstdio>

#include <gtest/gtest.h>
#include <unistd.h>

#include "analysis/agreement.hpp"
#include "analysis/coactivation.hpp"
#include "analysis/frequency.hpp"
#include "analysis/specialization.hpp"
#include "analysis/temporal.hpp"
#include "analysis/vocabulary.hpp"
#include "support/routing_builder.hpp"
#include "trace/reader.hpp"
#include "trace/writer.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;
using moescope::test::block_of;
using moescope::test::routing_builder;

// Token 7 three times at positions 0 to 2: one selects 3; two more, in another graph, select 5 and 6, 6 and 3.
template <class Sink>
void feed(Sink & sink) {
    routing_builder one({block_of(0, 8, 1)}), two({block_of(0, 8, 2)});
    one.token(0, 0, {{{3}}}, phase::decode, 7).feed(sink);
    two.token(0, 1, {{{5, 6}}}, phase::decode, 7).token(0, 2, {{{6, 3}}}, phase::decode, 7).feed(sink);
}

const std::vector<uint64_t> counts = {0, 0, 0, 2, 0, 1, 2, 0};

TEST(other_graphs, frequency_counts_all_ids_of_their_rows) {
    frequency f;
    feed(f);
    EXPECT_EQ(f.result().blocks.at(0).total, counts);
}

TEST(other_graphs, coactivation_counts_all_ids_of_their_rows) {
    coactivation c;
    feed(c);
    const pair_counts p = c.result().within.at(0);
    EXPECT_EQ(p.count_from, counts);
    EXPECT_EQ(p.n_both(5, 6), 1u);
    EXPECT_EQ(p.n_both(3, 6), 1u);
    EXPECT_EQ(p.n_both(6, 3), 1u);
}

TEST(other_graphs, specialization_counts_all_ids_of_their_rows) {
    specialization s;
    s.set_domain("one");
    feed(s);
    EXPECT_EQ(s.result().blocks.at(0).domains.at(0).count, counts);
}

TEST(other_graphs, vocabulary_counts_all_ids_of_their_rows) {
    vocabulary v({7});
    feed(v);
    EXPECT_EQ(v.result().at(0)->count, counts);
}

TEST(other_graphs, temporal_reads_all_ids_of_their_rows) {
    temporal t;
    feed(t);
    const temporal_result  r = t.result();
    const block_temporal & b = r.blocks.at(0);
    EXPECT_EQ(b.reuse[0], 1u);                    // 6 again after one token
    EXPECT_EQ(b.reuse[1], 1u);                    // 3 again after two
    EXPECT_EQ(b.reuse[n_reuse_classes - 1], 3u);  // 3, 5 and 6 for the first time
    EXPECT_EQ(b.overlap[0].n(), 2u);
    EXPECT_EQ(b.overlap[0].mean(), (0.0 + 0.5) / 2);
}

TEST(other_graphs, agreement_leaves_out_rows_that_select_another_number) {
    const std::string path = ::testing::TempDir() + "other_graphs_" + std::to_string(::getpid());
    {
        trace::writer_options options;
        options.existing = io::existing_file::replace;
        trace::trace_writer writer(path, {}, options);
        feed(writer);
        writer.finish({});
    }
    trace::trace_reader    a(path), b(path);
    const agreement_result r = measure_agreement(a, b);
    EXPECT_EQ(r.tokens_matched, 3u);
    ASSERT_EQ(r.blocks.size(), 1u);
    EXPECT_EQ(r.blocks[0].overlap.n(), 1u);
    EXPECT_EQ(r.blocks[0].count_a, (std::vector<uint64_t>{0, 0, 0, 1, 0, 0, 0, 0}));
    std::remove(path.c_str());
}

}  // namespace
