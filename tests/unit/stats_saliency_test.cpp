// Saliency sums, their file and their merging, against formulas that know nothing of the accumulator.

#include "stats/saliency.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "stats/expert_stats.hpp"
#include "stats/merge.hpp"
#include "stats/moestats.hpp"
#include "support/planted_trace.hpp"
#include "support/scratch_folder.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;
using namespace moescope::stats;

struct expectation {
    uint64_t rows = 0, count = 0;
    double   gate = 0, gated_norm = 0, norm = 0;
    float    max_norm = 0;
};

// What the plan's formulas give for one expert; `computed(layer, pos)` says which rows a layer has.
template <class F>
expectation expect(const planted::plan & p, int32_t layer, uint32_t e, column gate, F && computed) {
    expectation x;
    for (uint32_t seq = 0; seq < p.n_seq; ++seq) {
        for (uint32_t pos = 0; pos < p.n_prompt + p.n_generated; ++pos) {
            if (!computed(layer, int32_t(pos))) {
                continue;
            }
            x.rows += 1;
            const uint32_t rank = planted::rank_of(p, layer, int32_t(pos), int32_t(seq), e);
            if (rank < p.k) {
                const double g = planted::value_of(p, gate, layer, int32_t(pos), e, rank);
                const float  f = planted::value_of(p, column::norms, layer, int32_t(pos), e, rank);
                x.count += 1;
                x.gate += g;
                x.norm += f;
                x.gated_norm += g * f;
                x.max_norm = std::max(x.max_norm, f);
            }
        }
    }
    return x;
}

saliency accumulate(const planted::plan & p, const graph_layout & layout, gate_kind gate, uint32_t n_labels = 0) {
    saliency s(gate, n_labels);
    if (n_labels > 0) {
        std::vector<uint32_t> labels;
        for (uint32_t seq = 0; seq < p.n_seq; ++seq) {
            labels.push_back(seq % n_labels);
        }
        s.set_sequence_labels(labels);
    }
    planted::feed(p, planted::make_ubatches(p, layout), s);
    return s;
}

TEST(saliency, sums_equal_the_formulas_for_both_gates) {
    planted::plan p;
    p.n_prompt                = 40;
    const graph_layout layout = planted::layout_of(p);
    for (const gate_kind gate : {gate_kind::final, gate_kind::raw}) {
        const saliency s = accumulate(p, layout, gate);
        ASSERT_EQ(s.blocks().size(), p.layers.size());
        for (const saliency_block & b : s.blocks()) {
            // The plan's last layer computes the last row of a prompt's ubatch alone.
            const auto computed = [&](int32_t layer, int32_t pos) {
                const bool last_of_ubatch =
                    pos % int32_t(p.n_ubatch) == int32_t(p.n_ubatch) - 1 || pos + 1 == int32_t(p.n_prompt);
                return layer != p.layers.back() || pos >= int32_t(p.n_prompt) || last_of_ubatch;
            };
            for (uint32_t e = 0; e < p.n_expert; ++e) {
                const expectation x =
                    expect(p, b.layer, e, gate == gate_kind::final ? column::weights : column::weights_raw, computed);
                EXPECT_EQ(b.rows, x.rows);
                EXPECT_EQ(b.count[e], x.count);
                EXPECT_NEAR(b.gate[e], x.gate, 1e-12 * x.gate);
                EXPECT_NEAR(b.norm[e], x.norm, 1e-12 * x.norm);
                EXPECT_NEAR(b.gated_norm[e], x.gated_norm, 1e-12 * x.gated_norm);
                EXPECT_EQ(b.max_norm[e], x.max_norm);
                if (x.count > 0) {
                    EXPECT_NEAR(b.reap(e), x.gated_norm / double(x.count), 1e-12);
                    EXPECT_NEAR(b.ean(e), x.norm / double(x.count), 1e-12);
                    EXPECT_NEAR(b.mean_gate(e), x.gate / double(x.count), 1e-12);
                    EXPECT_NEAR(b.frequency(e), double(x.count) / double(x.rows), 1e-12);
                }
            }
        }
    }
}

// Trap 5: Llama 4's norms hold the gate already.
TEST(saliency, gated_norms_are_not_multiplied_twice) {
    planted::plan p;
    graph_layout  layout = planted::layout_of(p);
    for (block_layout & l : layout) {
        l.flags |= block_layout::norms_gated;
    }
    const saliency s = accumulate(p, layout, gate_kind::final);
    for (const saliency_block & b : s.blocks()) {
        EXPECT_TRUE(b.norms_gated());
        EXPECT_EQ(b.gated_norm, b.norm);
    }
}

// Trap 8: two blocks under one layer stay apart, and only the routed experts reach the JSON.
TEST(saliency, second_blocks_are_kept_apart) {
    planted::plan p;
    p.second_block = true;
    moestats s;
    s.blocks = accumulate(p, planted::layout_of(p), gate_kind::final).blocks();
    ASSERT_EQ(s.blocks.size(), p.layers.size() + 1);
    EXPECT_EQ(s.blocks[0].block, 0);
    EXPECT_EQ(s.blocks[1].block, 1);
    EXPECT_EQ(s.blocks[1].n_expert, p.n_expert / 2);
    EXPECT_EQ(nlohmann::json::parse(expert_stats_json(s)).size(), p.layers.size());
}

TEST(saliency, labels_split_the_counts) {
    planted::plan p;
    p.n_seq          = 4;
    const saliency s = accumulate(p, planted::layout_of(p), gate_kind::final, 2);
    for (const saliency_block & b : s.blocks()) {
        EXPECT_EQ(b.label_rows[0] + b.label_rows[1], b.rows);
        for (uint32_t e = 0; e < p.n_expert; ++e) {
            EXPECT_EQ(b.label_count[e] + b.label_count[p.n_expert + e], b.count[e]);
        }
        uint64_t odd = 0;  // selections of expert 3 by sequences 1 and 3, from the formula
        for (int32_t seq : {1, 3}) {
            for (int32_t pos = 0; pos < int32_t(p.n_prompt + p.n_generated); ++pos) {
                odd += planted::rank_of(p, b.layer, pos, seq, 3) < p.k ? 1 : 0;
            }
        }
        EXPECT_EQ(b.label_count[p.n_expert + 3], odd);
    }
}

TEST(saliency, missing_columns_are_an_error_not_a_zero) {
    planted::plan p;
    p.columns = column::ids | column::weights;
    EXPECT_THROW(accumulate(p, planted::layout_of(p), gate_kind::final), error);
}

// One run captured with and without each column: everything counts, and the means are of the rows that have what they need.
TEST(saliency, leaves_out_missing_columns_where_it_is_told) {
    const column_set bare = column::ids, gates = column::ids | column::weights, norms = column::ids | column::norms,
                     both = gates | norms;
    for (const std::vector<column_set> & captures :
         {std::vector<column_set>{both, gates, bare, norms}, std::vector<column_set>{norms, bare, gates, both}}) {
        planted::plan p;
        p.last_only = false;
        saliency s(gate_kind::final, 0, missing_columns::left_out);
        for (const column_set columns : captures) {
            p.columns = columns;
            planted::feed(p, planted::make_ubatches(p, planted::layout_of(p)), s);
        }
        ASSERT_EQ(s.blocks().size(), p.layers.size());
        for (const saliency_block & b : s.blocks()) {
            for (uint32_t e = 0; e < p.n_expert; ++e) {
                const expectation x = expect(p, b.layer, e, column::weights, [](int32_t, int32_t) { return true; });
                EXPECT_EQ(b.count[e], 4 * x.count);
                EXPECT_EQ(b.n_gate(e), 2 * x.count);
                EXPECT_EQ(b.n_norm(e), x.count);
                EXPECT_NEAR(b.gate[e], 2 * x.gate, 1e-12);
                EXPECT_NEAR(b.norm[e], x.norm, 1e-12);
                EXPECT_NEAR(b.mean_gate(e), x.count > 0 ? x.gate / double(x.count) : 0, 1e-12);
                EXPECT_NEAR(b.ean(e), x.count > 0 ? x.norm / double(x.count) : 0, 1e-12);
                EXPECT_NEAR(b.reap(e), x.count > 0 ? x.gated_norm / double(x.count) : 0, 1e-12);
            }
        }
    }
}

moestats profile_of(const planted::plan & p, const std::string & corpus, uint32_t n_labels = 0) {
    moestats s;
    s.model             = planted::model_of(p);
    s.model.metadata    = {};  // not part of the file
    s.model_fingerprint = 0xfeedfacecafebeef;
    s.options           = {{"context", "2048"}, {"last_layer", "all"}};
    for (uint32_t i = 0; i < n_labels; ++i) {
        s.labels.push_back("label " + std::to_string(i));
    }
    corpus_part c;
    c.name     = corpus;
    c.bytes    = corpus.size();
    c.hash     = std::hash<std::string>()(corpus);
    c.samples  = p.n_seq;
    c.tokens   = uint64_t(p.n_seq) * (p.n_prompt + p.n_generated);
    c.failed   = {3, 17};
    c.complete = true;
    s.corpora  = {c};
    s.blocks   = accumulate(p, planted::layout_of(p), gate_kind::final, n_labels).blocks();
    return s;
}

class stored_bytes {
public:
    const std::string & put(const std::string & bytes) const {
        std::ofstream(path_, std::ios::binary) << bytes;
        return path_;
    }

private:
    scratch_folder    folder_{scratch_folder::in_memory};
    const std::string path_ = folder_ / "x.moestats";
};

TEST(moestats, reads_back_to_the_byte) {
    planted::plan p;
    p.n_seq                  = 3;
    p.second_block           = true;
    const std::string  bytes = encode_moestats(profile_of(p, "a.jsonl", 2));
    const stored_bytes file;
    const moestats     back = read_moestats(file.put(bytes));
    EXPECT_EQ(encode_moestats(back), bytes);
    EXPECT_EQ(back.corpora.front().failed, (std::vector<uint64_t>{3, 17}));
    EXPECT_EQ(back.model.architecture, "planted");
    EXPECT_EQ(back.blocks.front().count,
              accumulate(p, planted::layout_of(p), gate_kind::final, 2).blocks().front().count);
}

TEST(moestats, every_cut_and_every_flipped_bit_is_reported) {
    planted::plan p;
    p.layers                 = {0};
    const std::string  bytes = encode_moestats(profile_of(p, "a.jsonl"));
    const stored_bytes file;
    for (size_t n = 0; n < bytes.size(); n += n + 64 < bytes.size() ? 131 : 3) {
        EXPECT_THROW(read_moestats(file.put(bytes.substr(0, n))), error) << n;
    }
    for (size_t i = 0; i < bytes.size(); i += 67) {
        std::string bad = bytes;
        bad[i]          = static_cast<char>(bad[i] ^ (1 << (i % 8)));
        EXPECT_THROW(read_moestats(file.put(bad)), error) << i;
    }
}

TEST(merge, parts_add_up_to_the_whole) {
    planted::plan whole;
    whole.n_seq       = 2;
    whole.last_only   = false;
    planted::plan one = whole;  // the plan's sequence 0 alone
    one.n_seq         = 1;
    // Twice the one-sequence plan has the same rows as two runs of it.
    moestats a = profile_of(one, "a"), b = profile_of(one, "b");
    merge_into(a, "a", b, "b");
    EXPECT_EQ(a.corpora.size(), 2u);
    EXPECT_EQ(a.samples(), 2u);
    for (size_t i = 0; i < a.blocks.size(); ++i) {
        EXPECT_EQ(a.blocks[i].rows, 2 * b.blocks[i].rows);
        for (uint32_t e = 0; e < one.n_expert; ++e) {
            EXPECT_EQ(a.blocks[i].count[e], 2 * b.blocks[i].count[e]);
            EXPECT_DOUBLE_EQ(a.blocks[i].gated_norm[e], 2 * b.blocks[i].gated_norm[e]);
            EXPECT_EQ(a.blocks[i].max_norm[e], b.blocks[i].max_norm[e]);
        }
    }
}

TEST(merge, joins_labels_by_name) {
    planted::plan p;
    moestats      a = profile_of(p, "a", 1), b = profile_of(p, "b", 1);
    b.labels = {"other"};
    merge_into(a, "a", b, "b");
    EXPECT_EQ(a.labels, (std::vector<std::string>{"label 0", "other"}));
    for (const saliency_block & block : a.blocks) {
        EXPECT_EQ(block.label_rows[0], block.label_rows[1]);
        EXPECT_EQ(block.label_rows[0] + block.label_rows[1], block.rows);
    }
}

// The message must name what differs.
void expect_refused(const moestats & a, const moestats & b, const std::string & word) {
    moestats to = a;
    try {
        merge_into(to, "a.moestats", b, "b.moestats");
        FAIL() << "merged although " << word << " differs";
    } catch (const error & e) {
        EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find("b.moestats"), std::string::npos) << e.what();
    }
    EXPECT_EQ(encode_moestats(to), encode_moestats(a));
}

TEST(merge, refuses_what_does_not_belong_together) {
    const planted::plan p;
    const moestats      a       = profile_of(p, "a");
    const auto          changed = [&](auto && change) {
        moestats b = profile_of(p, "b");
        change(b);
        return b;
    };
    expect_refused(a, changed([](moestats & b) { b.model.name = "other"; }), "name");
    expect_refused(a, changed([](moestats & b) { b.model_fingerprint += 1; }), "fingerprint");
    expect_refused(a, changed([](moestats & b) { b.gate = gate_kind::raw; }), "gate");
    expect_refused(a, changed([](moestats & b) { b.options[0].second = "512"; }), "context");
    expect_refused(a, changed([](moestats & b) { b.corpora[0].complete = false; }), "not finished");
    expect_refused(a, changed([&](moestats & b) { b.corpora = a.corpora; }), "twice");
    expect_refused(a, changed([](moestats & b) { b.labels = {"x"}; }), "labels");
}

// Parts of one file: only the shards of one run are sure to share no sample.
TEST(merge, refuses_parts_of_one_corpus_that_may_overlap) {
    const planted::plan p;
    const auto          part = [&](const char * selection) {
        moestats s             = profile_of(p, "a");
        s.corpora[0].selection = *parse_corpus_selection(selection);
        return s;
    };
    const std::string all = "prompt_key=prompt response_key=response label_key= limit=0 shard=0/1";
    for (const char * other : {
             "prompt_key=prompt response_key=response label_key= limit=30 shard=0/1",
             "prompt_key=prompt response_key=response label_key= limit=0 shuffle_seed=3 shard=0/1",
             "prompt_key=prompt response_key=response label_key=domain limit=0 shard=0/1",
             "prompt_key=prompt response_key=response label_key= limit=0 shard=1/2",
         }) {
        expect_refused(part(all.c_str()), part(other), "twice");
    }
    expect_refused(part("windows limit=0 shard=0/2"), part("windows limit=0 shard=1/3"), "twice");
    for (const auto & [a, b] :
         {std::pair("windows limit=0 shard=0/3", "windows limit=0 shard=2/3"),
          std::pair(all.c_str(), "prompt_key=question response_key=response label_key= limit=0 shard=0/1")}) {
        moestats to = part(a);
        merge_into(to, "a", part(b), "b");
        EXPECT_EQ(to.corpora.size(), 2u) << a << " and " << b;
    }
}

TEST(expert_stats, has_exactly_the_documented_shape) {
    planted::plan p;
    p.n_prompt       = 2;  // few rows, so that some experts are never selected
    p.n_generated    = 0;
    const moestats s = profile_of(p, "a");
    const auto     j = nlohmann::json::parse(expert_stats_json(s));
    ASSERT_EQ(j.size(), p.layers.size());
    for (const saliency_block & b : s.blocks) {
        const auto & layer = j.at(std::to_string(b.layer));
        EXPECT_EQ(layer.size(), 7u);
        EXPECT_EQ(layer.at("total_tokens"), b.rows);
        for (const char * key :
             {"activation_counts", "activation_frequency", "avg_gate_weight", "ean_mean", "reap", "never_activated"}) {
            EXPECT_EQ(layer.at(key).size(), p.n_expert) << key;
        }
        for (uint32_t e = 0; e < p.n_expert; ++e) {
            EXPECT_EQ(layer["activation_counts"][e], b.count[e]);
            EXPECT_EQ(layer["reap"][e].get<double>(), b.reap(e));
            EXPECT_EQ(layer["never_activated"][e].get<bool>(), b.count[e] == 0);
            if (b.count[e] == 0) {
                EXPECT_EQ(layer["reap"][e].get<double>() + layer["ean_mean"][e].get<double>() +
                              layer["avg_gate_weight"][e].get<double>(),
                          0.0);
            }
        }
    }
}

}  // namespace
