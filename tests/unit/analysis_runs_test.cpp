// Agreement of runs, specialization and vocabulary: hand-worked cases and properties.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include <gtest/gtest.h>
#include <unistd.h>

#include "analysis/agreement.hpp"
#include "analysis/specialization.hpp"
#include "analysis/tools/distance.hpp"
#include "analysis/tools/prompt_labels.hpp"
#include "analysis/vocabulary.hpp"
#include "core/error.hpp"
#include "core/random_stream.hpp"
#include "logs/open.hpp"
#include "support/routing_builder.hpp"
#include "trace/writer.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;
using moescope::test::block_of;
using moescope::test::routing_builder;

// A trace on disk, gone at the end of its scope.
class trace_on_disk {
public:
    explicit trace_on_disk(const routing_builder & t)
        : path_(::testing::TempDir() + "runs_test_" + std::to_string(::getpid()) + "_" + std::to_string(n_++)) {
        trace::writer_options options;
        options.existing = io::existing_file::replace;
        trace::trace_writer writer(path_, {}, options);
        t.feed(writer);
        writer.finish({});
    }
    ~trace_on_disk() { std::remove(path_.c_str()); }
    std::unique_ptr<trace::trace_source> open() const { return logs::open_source(path_); }

private:
    static int  n_;
    std::string path_;
};
int trace_on_disk::n_ = 0;

// ---- distances -----------------------------------------------------------------------------------------------------

TEST(distance, jensen_shannon_at_its_ends_and_by_hand) {
    EXPECT_EQ(jensen_shannon({1, 2, 3}, {2, 4, 6}), 0);
    EXPECT_NEAR(jensen_shannon({1, 0}, {0, 5}), 1, 1e-12);
    // p = (1, 0), q = (1/2, 1/2), m = (3/4, 1/4): 1/2 lg 4/3 + 1/2 (1/2 lg 2/3 + 1/2 lg 2)
    const double by_hand = 0.5 * std::log2(4.0 / 3) + 0.25 * std::log2(2.0 / 3) + 0.25;
    EXPECT_NEAR(jensen_shannon({3, 0}, {1, 1}), std::sqrt(by_hand), 1e-12);
    EXPECT_TRUE(std::isnan(jensen_shannon({0, 0}, {1, 1})));
}

TEST(distance, rank_correlation_with_ties) {
    EXPECT_NEAR(rank_correlation({1, 2, 3}, {10, 20, 30}), 1, 1e-12);
    EXPECT_NEAR(rank_correlation({1, 2, 3}, {9, 4, 1}), -1, 1e-12);
    // ranks (0, 1.5, 1.5, 3) and (0, 1, 2, 3): Σxy = 4.5, Σxx = 4.5, Σyy = 5
    EXPECT_NEAR(rank_correlation({1, 5, 5, 9}, {1, 2, 3, 4}), 4.5 / std::sqrt(4.5 * 5), 1e-12);
    EXPECT_TRUE(std::isnan(rank_correlation({4, 4}, {1, 2})));
}

// ---- agreement -----------------------------------------------------------------------------------------------------

TEST(agreement, matches_tokens_over_different_ubatches) {
    const graph_layout layout = {block_of(0, 4, 2)};
    routing_builder    a(layout), b(layout);
    a.ubatch({{7, 0, 0, phase::prefill, {{{0, 1}}}},
              {8, 1, 0, phase::prefill, {{{2, 3}}}},
              {9, 2, 0, phase::prefill, {{{1, 2}}}}});
    b.token(0, 0, {{{1, 0}}}, phase::prefill, 7);  // the same set, another first
    b.token(0, 1, {{{2, 1}}}, phase::prefill, 8);  // one in common
    b.token(0, 2, {{{1, 2}}}, phase::prefill, 9);  // equal
    const trace_on_disk    x(a), y(b);
    const agreement_result r = measure_agreement(*x.open(), *y.open());
    EXPECT_EQ(r.tokens_matched, 3u);
    EXPECT_EQ(r.tokens_differ + r.tokens_after + r.tokens_unmatched, 0u);
    ASSERT_EQ(r.blocks.size(), 1u);
    EXPECT_NEAR(r.blocks[0].overlap.mean(), (1 + 0.5 + 1) / 3, 1e-12);
    EXPECT_EQ(r.blocks[0].same_set, 2u);
    EXPECT_EQ(r.blocks[0].same_top, 2u);
    EXPECT_NEAR(r.blocks[0].overlap_by_chance, 0.5, 1e-12);
}

TEST(agreement, a_pruned_model_is_held_against_the_full_one_in_the_full_ones_numbers) {
    routing_builder full({block_of(0, 6, 2)}), pruned({block_of(0, 4, 2)});
    full.token(0, 0, {{{5, 3}}}, phase::prefill, 7);
    full.token(0, 1, {{{2, 0}}}, phase::prefill, 8);
    pruned.token(0, 0, {{{3, 2}}}, phase::prefill, 7);  // 5 and 3, as before
    pruned.token(0, 1, {{{0, 1}}}, phase::prefill, 8);  // 0 and 1: 2 went
    const gguf::kept_experts kept = {6, {{0, {0, 1, 3, 5}}}};
    const trace_on_disk      x(full), y(pruned);
    for (const bool turned : {false, true}) {
        const agreement_result r = turned ? measure_agreement(*y.open(), *x.open(), kept, {})
                                          : measure_agreement(*x.open(), *y.open(), {}, kept);
        ASSERT_EQ(r.blocks.size(), 1u);
        EXPECT_EQ(r.blocks[0].layout.n_expert, 6u);
        EXPECT_NEAR(r.blocks[0].overlap.mean(), (1 + 0.5) / 2, 1e-12);
        EXPECT_EQ(r.blocks[0].same_set, 1u);
        EXPECT_EQ(r.blocks[0].same_top, 1u);
        EXPECT_NEAR(r.blocks[0].overlap_by_chance, 2.0 / 6, 1e-12);
    }
    EXPECT_TRUE(measure_agreement(*x.open(), *y.open()).blocks.empty());  // without the list no number can be compared
}

TEST(agreement, of_a_run_with_itself_is_whole) {
    routing_builder t({block_of(0, 8, 2), block_of(1, 300, 3)});
    random_stream   random(5);
    for (int32_t i = 0; i < 60; ++i) {
        const uint32_t e = random.below(8), f = random.below(298);
        t.token(i % 2, i / 2, {{{e, (e + 1) % 8}}, {{f, f + 1, f + 2}}}, phase::decode, i);
    }
    const trace_on_disk    x(t);
    const agreement_result r = measure_agreement(*x.open(), *x.open());
    EXPECT_EQ(r.tokens_matched, 60u);
    for (const block_agreement & b : r.blocks) {
        EXPECT_EQ(b.overlap.mean(), 1);
        EXPECT_EQ(b.same_set, 60u);
        EXPECT_NEAR(b.rank_correlation(), 1, 1e-12);
        EXPECT_EQ(b.distance(), 0);
    }
}

// Two routers that look at the token, each in its own way: tokens make their choices depend on each other, but their
// numbers of experts mean nothing to each other.
TEST(agreement, tells_related_models_from_strangers) {
    random_stream random(6);
    const auto    model = [&] {
        std::vector<std::vector<uint32_t>> of_token;
        for (int t = 0; t < 20; ++t) {
            const uint32_t e = std::min(random.below(16), random.below(16));
            of_token.push_back({e, (e + 1 + random.below(15)) % 16});
        }
        return of_token;
    };
    double sum = 0, squares = 0;
    for (int round = 0; round < 40; ++round) {
        const auto      first = model(), second = model();
        routing_builder a({block_of(0, 16, 2)}), b({block_of(0, 16, 2)}), c({block_of(0, 16, 2)});
        for (int32_t i = 0; i < 400; ++i) {
            const size_t t = random.below(20);
            a.token(0, i, {{first[t]}}, phase::decode, i);
            b.token(0, i, {{second[t]}}, phase::decode, i);
            c.token(0, i, {{i % 4 == 0 ? second[t] : first[t]}}, phase::decode, i);
        }
        const trace_on_disk x(a), y(b), z(c);
        const double        strangers = measure_agreement(*x.open(), *y.open()).relatedness();
        sum += strangers;
        squares += strangers * strangers;
        EXPECT_GT(measure_agreement(*x.open(), *z.open()).relatedness(), 5);
    }
    EXPECT_NEAR(sum / 40, 0, 0.6);  // of standard scores: mean 0, mean square 1
    EXPECT_NEAR(squares / 40, 1, 0.7);
}

// Mean and variance over numberings are those of all 24 of them.
TEST(agreement, numbers_at_random_by_trying_all) {
    random_stream   random(3);
    routing_builder a({block_of(0, 4, 2)}), b({block_of(0, 4, 2)});
    for (int32_t i = 0; i < 30; ++i) {
        const uint32_t e = random.below(4), f = std::min(random.below(4), random.below(4));
        a.token(0, i, {{{e, (e + 1) % 4}}}, phase::decode, i);
        b.token(0, i, {{{f, (f + 1 + random.below(3)) % 4}}}, phase::decode, i);
    }
    const trace_on_disk   x(a), y(b);
    const block_agreement agreement = measure_agreement(*x.open(), *y.open()).blocks[0];
    EXPECT_NEAR(double(agreement.n_shared()), agreement.overlap.mean() * 2 * 30, 1e-9);
    std::vector<uint32_t> numbering = {0, 1, 2, 3};
    double                sum = 0, squares = 0;
    do {
        double shared = 0;
        for (uint32_t e = 0; e < 4; ++e) {
            shared += agreement.both[e * 4 + numbering[e]];
        }
        sum += shared / 24;
        squares += shared * shared / 24;
    } while (std::next_permutation(numbering.begin(), numbering.end()));
    EXPECT_NEAR(agreement.shared_mean(), sum, 1e-9);
    EXPECT_NEAR(agreement.shared_variance(), squares - sum * sum, 1e-9);
}

TEST(agreement, does_not_match_tokens_of_sequences_that_cannot_be_told) {
    routing_builder t({block_of(0, 4, 1)});
    for (int32_t i = 0; i < 5; ++i) {  // two sequences without ids, decoded together
        t.ubatch({{7, i, -1, phase::decode, {{{0}}}}, {8, 40 + i, -1, phase::decode, {{{1}}}}});
    }
    const trace_on_disk    x(t);
    const agreement_result r = measure_agreement(*x.open(), *x.open());
    EXPECT_EQ(r.tokens_matched, 0u);
    EXPECT_EQ(r.tokens_unmatched, 20u);
}

TEST(agreement, stops_where_a_sequence_parts) {
    routing_builder a({block_of(0, 4, 1)}), b({block_of(0, 4, 1)});
    for (int32_t i = 0; i < 6; ++i) {
        a.token(0, i, {{{1}}}, phase::decode, 100 + i);
        b.token(0, i, {{{1}}}, phase::decode, i == 3 ? 999 : 100 + i);
    }
    const trace_on_disk    x(a), y(b);
    const agreement_result r = measure_agreement(*x.open(), *y.open());
    EXPECT_EQ(r.tokens_matched, 3u);
    EXPECT_EQ(r.tokens_differ, 1u);
    EXPECT_EQ(r.tokens_after, 2u);  // the same token ids, in another context
    EXPECT_EQ(r.blocks[0].overlap.n(), 3u);
}

TEST(agreement, leaves_out_blocks_of_another_shape_and_bounds_its_memory) {
    routing_builder a({block_of(0, 4, 1), block_of(1, 4, 1)}), b({block_of(0, 4, 1), block_of(1, 8, 1)});
    for (int32_t i = 0; i < 20; ++i) {
        a.token(0, i, {{{1}}, {{1}}}, phase::decode, i);
        b.token(0, 100 + i, {{{1}}, {{1}}}, phase::decode, i);
    }
    const trace_on_disk x(a), y(b);
    EXPECT_EQ(measure_agreement(*x.open(), *y.open()).blocks.size(), 1u);
    EXPECT_EQ(measure_agreement(*x.open(), *y.open()).tokens_unmatched, 40u);
    EXPECT_THROW(measure_agreement(*x.open(), *y.open(), {}, {}, 2'000), error);  // bytes: a few tokens
}

// ---- specialization ------------------------------------------------------------------------------------------------

TEST(specialization, counts_each_domain_and_their_distance) {
    routing_builder code({block_of(0, 4, 2)}), prose({block_of(0, 4, 2)});
    for (int32_t i = 0; i < 10; ++i) {
        code.token(0, i, {{{0, 1}}});
        prose.token(0, i, {{{i < 5 ? 0u : 2u, 3}}});
    }
    specialization s;
    s.set_domain("code");
    code.feed(s);
    s.set_domain("prose");
    prose.feed(s);
    const specialization_result r = s.result();
    ASSERT_EQ(r.domains, (std::vector<std::string>{"code", "prose"}));
    const block_specialization & b = r.blocks[0];
    EXPECT_EQ(b.domains[0].frequency(0), 1);
    EXPECT_EQ(b.domains[1].frequency(0), 0.5);
    EXPECT_EQ(b.domains[1].frequency(3), 1);
    EXPECT_NEAR(b.distance(0, 1), jensen_shannon({10, 10, 0, 0}, {5, 0, 5, 10}), 1e-12);
    EXPECT_EQ(r.sequences, (std::vector<uint64_t>{1, 1}));
}

TEST(specialization, labels_go_by_sequence) {
    routing_builder t({block_of(0, 4, 1)});
    for (uint32_t s = 0; s < 4; ++s) {
        t.token(0, 0, {{{s % 2}}}).token(0, 1, {{{s % 2}}});
    }
    specialization s;
    s.set_labels({"even", "odd", "even"});  // the fourth has none
    t.feed(s);
    const specialization_result r = s.result();
    EXPECT_EQ(r.blocks[0].domains[0].count, (std::vector<uint64_t>{4, 0, 0, 0}));
    EXPECT_EQ(r.blocks[0].domains[1].count, (std::vector<uint64_t>{0, 2, 0, 0}));
    EXPECT_EQ(r.rows_without_domain, 2u);
    EXPECT_EQ(r.sequences, (std::vector<uint64_t>{2, 1}));
    EXPECT_EQ(r.blocks[0].distance(0, 1), 1);
    EXPECT_EQ(r.blocks[0].split_half(0), 0);  // sequences 0 and 2 are alike
}

TEST(specialization, an_empty_label_is_no_domain) {
    routing_builder t({block_of(0, 4, 1)});
    t.token(0, 0, {{{0}}}).token(0, 0, {{{1}}}).token(0, 0, {{{2}}});
    specialization s;
    s.set_labels({"a", "", "b"});
    t.feed(s);
    EXPECT_EQ(s.result().domains, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(s.result().rows_without_domain, 1u);
}

TEST(specialization, labels_of_a_source_that_grows_count_as_if_they_had_been_known) {
    routing_builder first({block_of(0, 4, 1)}), second({block_of(0, 4, 1)});
    first.token(0, 0, {{{0}}}).token(0, 1, {{{1}}});
    second.token(0, 2, {{{1}}}).token(0, 0, {{{2}}}).token(0, 0, {{{3}}});  // goes on, then two more sequences
    specialization s;
    s.more_labels({"a"});
    first.feed(s);
    s.more_labels({"a", "b", "a"});
    second.feed(s);
    const specialization_result r = s.result();
    EXPECT_EQ(r.blocks[0].domains[0].count, (std::vector<uint64_t>{1, 2, 0, 1}));
    EXPECT_EQ(r.blocks[0].domains[1].count, (std::vector<uint64_t>{0, 0, 1, 0}));
    EXPECT_EQ(r.sequences, (std::vector<uint64_t>{2, 1}));
}

TEST(prompt_labels, are_found_among_other_notes) {
    const std::vector<std::string> notes = {"the page cache is warm",
                                            R"({"prompt":0,"line":1,"label":"code","batch":0})",
                                            R"({"prompt":2,"label":"prose \"x\""})",
                                            R"({"prompt":-1,"label":"bad"})",
                                            R"({"prompt":1,"label":7})",
                                            R"({"label":"none"})",
                                            R"({"prompt":1)",
                                            R"({"prompt":18446744073709551615,"label":"far"})"};
    EXPECT_EQ(prompt_labels(notes), (std::vector<std::string>{"code", "", "prose \"x\""}));
    EXPECT_TRUE(prompt_labels({notes[0]}).empty());
    EXPECT_EQ(without_prompt_labels(notes),
              (std::vector<std::string>{notes[0], notes[3], notes[4], notes[5], notes[6]}));
}

TEST(prompt_labels, a_note_is_read_back_as_it_was_written) {
    EXPECT_EQ(to_note({3, 4, "code", 17}), R"({"prompt":3,"line":4,"label":"code","batch":17})");
    EXPECT_EQ(to_note({0, 0, "a \"b\"", 0}), R"({"prompt":0,"label":"a \"b\"","batch":0})");  // the line is not known
    for (const prompt_label & p : {prompt_label{3, 4, "code", 17}, prompt_label{0, 0, "ü\n\"", UINT64_MAX}}) {
        const auto back = parse_prompt_label(to_note(p));
        ASSERT_TRUE(back.has_value());
        EXPECT_EQ(back->prompt, p.prompt);
        EXPECT_EQ(back->line, p.line);
        EXPECT_EQ(back->label, p.label);
        EXPECT_EQ(back->batch, p.batch);
    }
}

TEST(specialization, halves_of_one_sequence_are_its_stretches_of64) {
    routing_builder t({block_of(0, 4, 1)});
    for (int32_t i = 0; i < 256; ++i) {
        t.token(0, i, {{{i / 64 % 2 == 0 ? 0u : 3u}}});
    }
    specialization s;
    s.set_domain("one");
    t.feed(s);
    const block_specialization b = s.result().blocks[0];
    EXPECT_EQ(b.domains[0].half[0], (std::vector<uint64_t>{128, 0, 0, 0}));
    EXPECT_EQ(b.split_half(0), 1);
    EXPECT_EQ(s.sequences_of_source(), 1u);
}

TEST(specialization, halves_of_one_domain_are_as_far_as_those_of_equal_domains) {
    random_stream random(9);
    const auto    domain = [&](specialization & s, const char * name) {
        routing_builder t({block_of(0, 16, 1)});
        for (int32_t i = 0; i < 2000; ++i) {
            t.token(0, i % 100, {{{std::min(random.below(16), random.below(16))}}});
        }
        s.set_domain(name);
        t.feed(s);
    };
    specialization s;
    domain(s, "a");
    domain(s, "b");
    const block_specialization b = s.result().blocks[0];
    // JS² of equal distributions over halves of n rows has the mean (E − 1) / (4 n ln 2): of chi-squared / (8 N ln 2) each way.
    const double noise = std::sqrt(15 / (4 * 1000 * std::log(2.0)));
    EXPECT_NEAR(b.split_half(0), noise, noise / 2);
    EXPECT_NEAR(b.half_distance(0, 1), noise, noise / 2);
}

// ---- vocabulary ----------------------------------------------------------------------------------------------------

TEST(vocabulary, chooses_frequent_tokens_and_counts_their_experts) {
    routing_builder t({block_of(0, 4, 1)});
    for (int32_t i = 0; i < 12; ++i) {
        t.token(0, i, {{{i % 3 == 0 ? 2u : 1u}}}, phase::prefill, i % 3 == 0 ? 70 : 71);
    }
    t.token(0, 12, {{{3}}}, phase::prefill, 72);
    t.token(0, 13, {{{3}}}, phase::prefill, -1);
    token_counts tokens;
    t.feed(tokens);
    EXPECT_EQ(tokens.n_tokens(), 3u);
    EXPECT_EQ(tokens.frequent(2, 10), (std::vector<int32_t>{71, 70}));
    EXPECT_EQ(tokens.frequent(2, 1), (std::vector<int32_t>{71}));
    vocabulary v(tokens.frequent(2, 10));
    t.feed(v);
    const block_vocabulary & b = *v.result()[0];
    EXPECT_EQ(b.rows, 14u);
    EXPECT_EQ(b.tokens[1].rows, 4u);
    EXPECT_EQ(b.tokens[1].count(2), 4u);
    EXPECT_EQ(b.tokens[1].top_expert(), 2u);
    EXPECT_EQ(b.mean_specialization(), 1);
    EXPECT_NEAR(b.blind(), 8.0 / 14, 1e-12);
    const auto top = top_tokens(b, 2, 5);
    ASSERT_EQ(top.size(), 1u);
    EXPECT_EQ(top[0].token, 70);
    EXPECT_NEAR(top[0].lift, 14.0 / 4, 1e-12);
    EXPECT_TRUE(top_tokens(b, 0, 5).empty());
}

// Random routing: the specialization of held-out halves is what guessing gives, not the inflated largest frequency.
TEST(vocabulary, chance_does_not_look_like_specialization) {
    routing_builder      t({block_of(0, 16, 2)});
    random_stream        random(2);
    std::vector<int32_t> all;
    for (int32_t i = 0; i < 6000; ++i) {
        const uint32_t e = random.below(16);
        t.token(0, i, {{{e, (e + 1 + random.below(15)) % 16}}}, phase::prefill, i % 300);
    }
    for (int32_t i = 0; i < 300; ++i) {
        all.push_back(i);
    }
    vocabulary v(all);
    t.feed(v);
    EXPECT_NEAR(v.result()[0]->mean_specialization(), 2.0 / 16, 0.02);
}

}  // namespace
