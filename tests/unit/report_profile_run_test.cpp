// What the page is given of a profile, against sums that are worked out by hand.

#include <cmath>

#include <gtest/gtest.h>

#include "report/profile_run.hpp"

using namespace moescope;
using report::page_run;
using report::run_of_profile;

namespace {

// Three rows of top-2 of three experts: {0, 1} and {0, 2} of label "a", {0, 1} of "b"; expert e's norm is 2 e + 1, all gates 1/2.
stats::moestats three_rows(int32_t layer) {
    stats::saliency_block b;
    b.layer         = layer;
    b.n_expert      = 3;
    b.n_expert_used = 2;
    b.rows          = 3;
    b.count         = {3, 2, 1};
    b.gate          = {1.5, 1, 0.5};
    b.norm          = {3, 6, 5};
    b.gated_norm    = {1.5, 3, 2.5};
    b.pair_count    = {2, 1, 0};
    b.label_rows    = {2, 1};
    b.label_count   = {2, 1, 1, 1, 1, 0};
    stats::moestats s;
    s.model.name = "m";
    s.labels     = {"a", "b"};
    s.blocks     = {b};
    stats::corpus_part part;
    part.name   = "x.jsonl";
    part.tokens = 3;
    s.corpora   = {part, part};
    return s;
}

}  // namespace

TEST(report_profile_run, sums_of_experts_labels_and_pairs) {
    stats::moestats s = three_rows(4);
    s.blocks.push_back(three_rows(7).blocks[0]);
    s.blocks[1].count       = {6, 0, 0};  // experts that were never selected have no means
    s.blocks[1].label_count = {4, 0, 0, 2, 0, 0};
    const page_run run      = run_of_profile(s, "p.moestats", 6);

    EXPECT_EQ(run.source.format, "profile");
    EXPECT_EQ(run.source.program, "x.jsonl");
    EXPECT_TRUE(run.source.counts_only && run.source.ended);
    EXPECT_EQ(run.tokens, 6u);  // of both parts
    ASSERT_EQ(run.blocks.size(), 2u);
    EXPECT_EQ(run.blocks[1].layout.layer, 7);
    EXPECT_EQ(run.blocks[1].first_cell, 3u);
    EXPECT_EQ(run.blocks[0].rows, 3u);
    EXPECT_EQ(run.blocks[1].balance.dead, 2);
    // Entropy of 1/2, 1/3, 1/6 over ln 3.
    EXPECT_NEAR(run.blocks[0].balance.entropy, (std::log(2) / 2 + std::log(3) / 3 + std::log(6) / 6) / std::log(3),
                1e-12);
    EXPECT_EQ(run.cells.count, (std::vector<uint64_t>{3, 2, 1, 6, 0, 0}));
    for (size_t e = 0; e < 3; ++e) {
        EXPECT_EQ(run.cells.weight_mean[e], 0.5);
        EXPECT_EQ(run.cells.ean[e], 2.0 * double(e) + 1);
        EXPECT_EQ(run.cells.reap[e], double(e) + 0.5);
    }
    EXPECT_TRUE(std::isnan(run.cells.ean[4]) && std::isnan(run.cells.reap[5]) && std::isnan(run.cells.weight_mean[4]));
    EXPECT_TRUE(run.cells.accesses.empty() && run.cells.count_decoded.empty());

    ASSERT_EQ(run.domains.size(), 2u);
    EXPECT_EQ(run.domains[0].label, "a");
    EXPECT_EQ(run.domains[0].rows, (std::vector<uint64_t>{2, 2}));
    EXPECT_EQ(run.domains[1].count, (std::vector<uint64_t>{1, 1, 0, 2, 0, 0}));
    EXPECT_TRUE(run.pairs.complete);
    EXPECT_EQ(run.pairs.count[0], (std::vector<uint64_t>{2, 1, 0}));
    EXPECT_FALSE(run_of_profile(s, "p.moestats", 5).pairs.complete);  // one pair more than may be
    EXPECT_TRUE(run_of_profile(s, "p.moestats", 5).pairs.count[0].empty());
}

TEST(report_profile_run, a_profile_without_norms_or_labels_has_neither) {
    stats::moestats s       = three_rows(0);
    s.labels                = {};
    s.blocks[0].label_rows  = {};
    s.blocks[0].label_count = {};
    s.blocks[0].norm        = {0, 0, 0};
    s.blocks[0].pair_count  = {};
    s.corpora               = {};
    const page_run run      = run_of_profile(s, "nowhere.json", 100);
    EXPECT_TRUE(run.cells.ean.empty() && run.cells.reap.empty() && run.domains.empty());
    EXPECT_EQ(run.tokens, 3u);  // no corpus says; the rows do
    EXPECT_EQ(run.source.bytes, 0u);
}
