// Logs of other programs, and what each says and does not say.

#include <gtest/gtest.h>

#include "logs/csv_log.hpp"
#include "logs/foreign_line.hpp"
#include "logs/open.hpp"
#include "logs/text_log.hpp"
#include "support/trace_kit.hpp"

namespace moescope::trace {
namespace {

using namespace test;
using strings = std::vector<std::string>;

// A ubatch in short: "decode pos 5: layer 1 [3 4] [0.5 0.5]; …", one per row.
strings summary(const std::string & path, column column = column::weights) {
    strings    list;
    const auto source = logs::open_source(path);
    for (int pass = 0; pass < 2; ++pass, source->rewind()) {
        strings again;
        for (routed_ubatch u; source->next(u);) {
            for (const block_rows & b : u.blocks) {
                for (uint32_t r = 0; r < b.n_rows; ++r) {
                    const int32_t t = b.token_of(r);
                    std::string   s = t < 0 ? "?" : u.phases[static_cast<size_t>(t)] ? "decode" : "prefill";
                    s += " batch " + std::to_string(u.batch) + " pos " +
                         std::to_string(t < 0 ? -1 : u.pos[static_cast<size_t>(t)]);
                    s += " layer " + std::to_string(b.layout->layer) + ":";
                    for (uint32_t i = 0; i < b.layout->n_expert_used; ++i) {
                        s += " " + std::to_string(b.id(r * b.layout->n_expert_used + i));
                    }
                    if (const float * v = b.values_of(column)) {
                        s += " |";
                        for (uint32_t i = 0; i < b.layout->width(column); ++i) {
                            char text[32];
                            std::snprintf(text, sizeof(text), " %g",
                                          static_cast<double>(v[r * b.layout->width(column) + i]));
                            s += text;
                        }
                    }
                    again.push_back(s);
                }
            }
        }
        if (pass == 0) {
            list = again;
        } else {
            EXPECT_EQ(again, list) << "the second reading differs";
        }
    }
    return list;
}

struct log_file {
    const scratch_folder folder{scratch_folder::in_memory};
    std::string          path = folder / "x.log";
    explicit log_file(const std::string & text) { spill(path, text); }
};

TEST(foreign_log, reads_the_text_log_of_the_design) {
    const log_file f("=== MoE Expert Selection Log ===\n"
                     "Prompt: Explain quantum\nLayer of computing\nTokens: 2\n\n"
                     "Layer 10 - Raw Logits:\n  n_experts=160, n_tokens=2\n"
                     "Layer 10 - Selected Expert IDs (top-3):\n"
                     "  Token 0: [42, 105, 17]\n  Token 1: [1, 2, 3]\n"
                     "Layer 10 - Expert Routing Weights:\n"
                     "  Token 0: [0.500, 0.300, 0.200] (sum=1.000)\n  Token 1: [0.400, 0.300, 0.300] (sum=1.000)\n\n"
                     "Layer 10 - Selected Expert IDs (top-3):\n  Token 2: [7, 8, 9]\n"
                     "Layer 10 - Expert Routing Weights:\n  Token 2: [0.250, 0.250, 0.500] (sum=1.000)\n\n"
                     "=== Inference Complete ===\n");
    EXPECT_EQ(summary(f.path), (strings{"prefill batch 0 pos 0 layer 10: 42 105 17 | 0.5 0.3 0.2",
                                        "prefill batch 0 pos 1 layer 10: 1 2 3 | 0.4 0.3 0.3",
                                        "decode batch 1 pos 2 layer 10: 7 8 9 | 0.25 0.25 0.5"}));
    const auto source = logs::open_source(f.path);
    EXPECT_EQ(source->info().format, "log");
    EXPECT_EQ(source->info().notes, strings{});
    ASSERT_EQ(source->blocks().size(), 1u);
    EXPECT_EQ(source->blocks()[0].n_expert, 160u) << "the log says how many";
}

TEST(foreign_log, reads_selection_rows) {
    const log_file f("3,52 40 85 110\n4,1 2 3 4\n3,5 6 7 8\n4,9 10 11 12\n");
    EXPECT_EQ(summary(f.path),
              (strings{"prefill batch 0 pos -1 layer 3: 52 40 85 110", "prefill batch 0 pos -1 layer 4: 1 2 3 4",
                       "decode batch 1 pos -1 layer 3: 5 6 7 8", "decode batch 1 pos -1 layer 4: 9 10 11 12"}));
    const auto source = logs::open_source(f.path);
    EXPECT_EQ(source->blocks()[0].n_expert, 111u);
    EXPECT_NE(source->info().notes.at(0).find("largest id + 1, 111"), std::string::npos);
}

TEST(foreign_log, has_at_least_as_many_experts_as_a_row_has_ids) {
    const log_file f("3,1 1 0 1\n3,0 0 0 0\n");
    const auto     source = logs::open_source(f.path);
    EXPECT_EQ(source->blocks()[0].n_expert, 4u);
    EXPECT_NE(source->info().notes.at(0).find("the number of ids in a row, 4"), std::string::npos)
        << source->info().notes.at(0);
}

TEST(foreign_log, a_position_that_cannot_be_is_unknown) {
    const log_file f("7,-5,\"[0 1]\",\"[0.5 0.5]\"\n7,3000000000,\"[2 3]\",\"[0.5 0.5]\"\n");
    EXPECT_EQ(summary(f.path), (strings{"prefill batch 0 pos -1 layer 7: 0 1 | 0.5 0.5",
                                        "prefill batch 0 pos -1 layer 7: 2 3 | 0.5 0.5"}));
}

TEST(foreign_log, reads_gate_rows_and_tells_generated_tokens) {
    const log_file f("gate_input,0,0,1 2\ngate_input,0,1,3 4\ngate_input,1,0,5 6\ngate_input,1,1,7 8\n"
                     "gate_input,0,0,-1.5 1e-3\ngate_input,1,0,9 10\n");
    EXPECT_EQ(summary(f.path, column::gate_input),
              (strings{"prefill batch 0 pos -1 layer 0: | 1 2", "prefill batch 0 pos -1 layer 0: | 3 4",
                       "prefill batch 0 pos -1 layer 1: | 5 6", "prefill batch 0 pos -1 layer 1: | 7 8",
                       "decode batch 1 pos -1 layer 0: | -1.5 0.001", "decode batch 1 pos -1 layer 1: | 9 10"}));
}

TEST(foreign_log, a_gate_row_that_begins_again_is_the_next_batch) {
    const log_file f("gate_input,0,0,1\ngate_input,0,1,2\ngate_input,0,0,3\ngate_input,0,0,4\n");
    EXPECT_EQ(summary(f.path, column::gate_input),
              (strings{"prefill batch 0 pos -1 layer 0: | 1", "prefill batch 0 pos -1 layer 0: | 2",
                       "decode batch 1 pos -1 layer 0: | 3", "decode batch 2 pos -1 layer 0: | 4"}));
}

TEST(foreign_log, reads_both_kinds_mixed) {
    const log_file f("gate_input,0,0,1 2\n0,3 4\ngate_input,1,0,5 6\n1,7 8\ngate_input,0,0,9 9\n0,1 2\n1,3 4\n");
    EXPECT_EQ(summary(f.path, column::gate_input),
              (strings{"prefill batch 0 pos -1 layer 0: 3 4 | 1 2", "prefill batch 0 pos -1 layer 1: 7 8 | 5 6",
                       "decode batch 1 pos -1 layer 0: 1 2 | 9 9", "decode batch 1 pos -1 layer 1: 3 4"}));
    EXPECT_EQ(logs::open_source(f.path)->info().format, "selection-csv+gate-csv");
}

TEST(foreign_log, gate_rows_that_do_not_fit_the_selections_are_a_batch_of_their_own) {
    const log_file fewer_selections("gate_input,0,0,1 2\ngate_input,0,1,3 4\n0,5 6\n");
    EXPECT_EQ(summary(fewer_selections.path, column::gate_input),
              (strings{"prefill batch 0 pos -1 layer 0: 5 6", "prefill batch 1 pos -1 layer 0: | 1 2",
                       "prefill batch 1 pos -1 layer 0: | 3 4"}));
    const log_file fewer_gates("gate_input,0,0,1 2\n0,5 6\n0,7 8\n");
    EXPECT_EQ(summary(fewer_gates.path, column::gate_input),
              (strings{"prefill batch 0 pos -1 layer 0: 5 6", "prefill batch 0 pos -1 layer 0: 7 8",
                       "decode batch 1 pos -1 layer 0: | 1 2"}));
}

TEST(foreign_log, a_row_without_ids_is_none) {
    const log_file f("Layer 0 - Selected Expert IDs:\n  Token 0: []\n  Token 1: [3, 1]\n");
    EXPECT_EQ(summary(f.path), strings{"prefill batch 0 pos 1 layer 0: 3 1"});
    EXPECT_NE(logs::open_source(f.path)->info().notes.back().find("line 2: no ids"), std::string::npos);
}

TEST(foreign_log, a_k_that_no_model_has_is_not_believed) {
    const log_file f("Layer 0 - Selected Expert IDs (top-4000000000):\n  Token 0: [3, 1]\n"
                     "Layer 1 - Selected Expert IDs (top-2):\n  Token 0: [0, 2]\n");
    EXPECT_EQ(summary(f.path), (strings{"prefill batch 0 pos 0 layer 0: 3 1", "prefill batch 0 pos 0 layer 1: 0 2"}));
    EXPECT_EQ(logs::open_source(f.path)->model().n_expert, 4u);
}

TEST(foreign_log, banners_and_headers_do_not_matter_and_malformed_lines_are_named) {
    const log_file f(
        "llama_model_loader: - kv 0\nlayer_id,expert_ids\n0,1 2\n0,1 2 3\n0,4 x\n0,5 6\r\ngate_input,0,zero,1\n");
    EXPECT_EQ(summary(f.path), (strings{"prefill batch 0 pos -1 layer 0: 1 2", "prefill batch 0 pos -1 layer 0: 5 6"}));
    const auto          notes = logs::open_source(f.path)->info().notes;
    const std::string & last  = notes.back();
    EXPECT_NE(last.find("3 lines make no sense"), std::string::npos) << last;
    EXPECT_NE(last.find("line 4: 3 ids where layer 0 selects 2"), std::string::npos) << last;
}

TEST(foreign_log, what_is_no_log_is_refused) {
    for (const char * text : {"nothing of this kind\n", "# only a comment\nlayer_id,expert_ids\n"}) {
        const log_file f(text);
        EXPECT_THROW(logs::open_source(f.path), error) << text;
    }
    const log_file gguf(std::string("GGUF\3\0\0\0", 8));
    EXPECT_THROW(logs::open_source(gguf.path), error);
    EXPECT_THROW(logs::open_source("/nonexistent/file"), error);
}

TEST(foreign_log, cut_lists_are_not_taken_for_whole_ones) {
    const log_file f("Layer 0 - Selected Expert IDs (top-3):\n  Token 0: [1, 2, ...]\n  Token 1: [1, 2, 3]\n");
    EXPECT_EQ(summary(f.path), strings{"prefill batch 0 pos 1 layer 0: 1 2 3"});
    EXPECT_NE(logs::open_source(f.path)->info().notes.back().find("cut"), std::string::npos);
}

// What moescope itself writes comes back: ids, positions and phases exactly, weights as far as the format holds them.
class written_logs : public testing::TestWithParam<bool> {};

TEST_P(written_logs, come_back) {
    planted::plan p;
    p.n_expert                           = 300;
    const auto                  layout   = planted::layout_of(p);
    const auto                  ubatches = planted::make_ubatches(p, layout);
    const bool                  csv      = GetParam();
    std::string                 text     = csv ? logs::csv_log_header : "";
    const logs::text_log_format format;
    if (!csv) {
        format.banner(text);
        format.prompt(text, "a prompt", p.n_prompt);
    }
    for (const auto & u : ubatches) {
        if (csv) {
            logs::append_csv_rows(text, u.view);
        } else {
            format.ubatch(text, u.view);
        }
    }
    const log_file f(text);
    const auto     source = logs::open_source(f.path);
    routed_ubatch  v;
    for (const auto & u : ubatches) {
        ASSERT_TRUE(source->next(v));
        ASSERT_EQ(std::vector<int32_t>(v.pos.begin(), v.pos.end()), u.owner.pos);
        if (!csv) {  // the CSV does not say which tokens were generated
            ASSERT_EQ(std::vector<uint8_t>(v.phases.begin(), v.phases.end()), u.owner.phases);
        }
        ASSERT_EQ(v.blocks.size(), u.blocks.size());
        for (size_t i = 0; i < u.blocks.size(); ++i) {
            const block_rows &a = u.blocks[i], &b = v.blocks[i];
            ASSERT_EQ(b.n_rows, a.n_rows);
            for (uint32_t r = 0; r < a.n_rows; ++r) {
                ASSERT_EQ(b.token_of(r), a.token_of(r));
                for (size_t j = r * p.k; j < (r + 1) * p.k; ++j) {
                    ASSERT_EQ(b.id(j), a.id(j));
                    const float wanted = a.values_of(column::weights)[j], got = b.values_of(column::weights)[j];
                    ASSERT_NEAR(got, wanted, csv ? 0 : 0.0005);
                }
                for (size_t e = 0; e < p.n_expert && !csv; ++e) {
                    ASSERT_NEAR(b.values_of(column::logits)[r * p.n_expert + e],
                                a.values_of(column::logits)[r * p.n_expert + e], 0.0005);
                }
            }
        }
    }
    EXPECT_FALSE(source->next(v));
}

INSTANTIATE_TEST_SUITE_P(Formats, written_logs, testing::Bool());

// Any bytes may stand in a log.
TEST(foreign_log, nonsense_does_not_crash) {
    const std::string good =
        "Layer 0 - Selected Expert IDs (top-2):\n  Token 0: [1, 2]\n0,0,\"[1 2]\",\"[0.5 0.5]\"\n0,1 2\n"
        "gate_input,0,0,1 2\nTokens: 3\n";
    uint64_t   state  = 3;
    const auto random = [&] {
        return static_cast<uint32_t>((state = state * 6364136223846793005u + 1442695040888963407u) >> 33);
    };
    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    path = folder / "x.log";
    for (int i = 0; i < 2000; ++i) {
        std::string text = good;
        for (uint32_t n = 1 + random() % 6; n > 0; --n) {
            static constexpr char alphabet[] = "0123456789,[]\" .-?eL\nT";
            text[random() % text.size()]     = alphabet[random() % (sizeof(alphabet) - 1)];
        }
        spill(path, text);
        try {
            const auto source = logs::open_source(path);
            for (routed_ubatch u; source->next(u);) {
                for (const block_rows & b : u.blocks) {
                    for (uint32_t r = 0; r < b.n_rows; ++r) {
                        ASSERT_LT(b.token_of(r), static_cast<int32_t>(u.n_tokens()));
                        for (uint32_t j = 0; j < b.layout->n_expert_used; ++j) {
                            ASSERT_LT(b.id(r * b.layout->n_expert_used + j), b.layout->n_expert);
                        }
                    }
                }
            }
        } catch (const error &) {
        }
    }
}

}  // namespace
}  // namespace moescope::trace
