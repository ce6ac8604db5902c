// The two logs a program writes while it runs, checked against the layout that docs/export.md gives.

#include <cstdlib>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "logs/csv_log.hpp"
#include "logs/row_text.hpp"
#include "logs/text_log.hpp"
#include "support/planted_trace.hpp"

namespace moescope::trace {
using namespace test;

namespace {

class memory_sink final : public io::byte_sink {
public:
    explicit memory_sink(std::string & out) : out_(out) {}
    void     write(const void * data, size_t size) override { out_.append(static_cast<const char *>(data), size); }
    uint64_t size() const override { return out_.size(); }

private:
    std::string & out_;
};

// One row of the logger's own example: layer 10, top-8 of 160, weights as given there.
struct example {
    static constexpr uint8_t ids[]     = {42, 105, 17, 88, 134, 3, 99, 12};
    static constexpr float   weights[] = {0.245f, 0.189f, 0.156f, 0.112f, 0.089f, 0.078f, 0.067f, 0.064f};

    graph_layout         layout;
    std::vector<int32_t> zero{0};
    std::vector<uint8_t> phases{0};
    block_rows           rows;
    routed_ubatch        u;

    example() {
        block_layout l;
        l.layer         = 10;
        l.n_expert      = 160;
        l.n_expert_used = 8;
        l.columns       = column::ids | column::weights;
        layout.push_back(l);
        rows.layout    = &layout[0];
        rows.n_rows    = 1;
        rows.ids       = ids;
        rows.values[0] = weights;
        u.token = u.pos = u.seq = zero;
        u.phases                = phases;
        u.layout                = &layout;
        u.blocks                = {&rows, 1};
    }
};

TEST(text_log, writes_the_example_to_the_letter) {
    const example  e;
    std::string    text;
    logs::text_log log(std::make_unique<memory_sink>(text));
    log.prompt("Explain quantum computing", 15);
    log.ubatch(e.u);
    log.finish();
    EXPECT_EQ(text, "=== MoE Expert Selection Log ===\n"
                    "Prompt: Explain quantum computing\n"
                    "Tokens: 15\n"
                    "\n"
                    "Layer 10 - Selected Expert IDs (top-8):\n"
                    "  Token 0: [42, 105, 17, 88, 134, 3, 99, 12]\n"
                    "Layer 10 - Expert Routing Weights:\n"
                    "  Token 0: [0.245, 0.189, 0.156, 0.112, 0.089, 0.078, 0.067, 0.064] (sum=1.000)\n"
                    "\n"
                    "=== Inference Complete ===\n");
}

TEST(text_log, cuts_rows_only_when_asked) {
    const example e;
    std::string   text;
    logs::text_log_format(3).ubatch(text, e.u);
    EXPECT_NE(text.find("  Token 0: [42, 105, 17, ...]\n"), std::string::npos) << text;
    EXPECT_NE(text.find("  Token 0: [0.245, 0.189, 0.156, ...] (sum=1.000)\n"), std::string::npos)
        << "the sum is of all: " << text;
}

TEST(text_log, names_unknown_positions_and_other_sequences) {
    example              e;
    std::vector<int32_t> minus{-1}, seven{7}, two{2};
    e.u.pos = minus;
    std::string text;
    logs::text_log_format().ubatch(text, e.u);
    EXPECT_NE(text.find("  Token ?: [42"), std::string::npos) << text;

    e.u.pos = seven;
    e.u.seq = two;
    text.clear();
    logs::text_log_format().ubatch(text, e.u);
    EXPECT_NE(text.find("  Token 7 (sequence 2): [42"), std::string::npos) << text;

    e.rows.row_token = minus;  // a row that belongs to no known token
    text.clear();
    logs::text_log_format().ubatch(text, e.u);
    EXPECT_NE(text.find("  Token ?: [42"), std::string::npos) << text;
}

TEST(text_log, scores_carry_their_shape) {
    planted::plan p;
    p.layers           = {4};
    p.n_prompt         = 2;
    p.n_generated      = 0;
    p.last_only        = false;
    p.n_expert         = 5;
    p.k                = 2;
    const auto  layout = planted::layout_of(p);
    const auto  all    = planted::make_ubatches(p, layout);
    std::string text;
    logs::text_log_format().ubatch(text, all[0].view);
    // layer 4: expert (7 pos + 12) mod 5 stands first; logits fall by 0.25 from 2, probs halve from 0.5
    EXPECT_EQ(text, "Layer 4 - Raw Logits:\n"
                    "  n_experts=5, n_tokens=2\n"
                    "  Token 0: [1.250, 1.000, 2.000, 1.750, 1.500]\n"
                    "  Token 1: [1.750, 1.500, 1.250, 1.000, 2.000]\n"
                    "Layer 4 - Router Probabilities:\n"
                    "  n_experts=5, n_tokens=2\n"
                    "  Token 0: [0.062, 0.031, 0.500, 0.250, 0.125]\n"
                    "  Token 1: [0.250, 0.125, 0.062, 0.031, 0.500]\n"
                    "Layer 4 - Selected Expert IDs (top-2):\n"
                    "  Token 0: [2, 3]\n"
                    "  Token 1: [4, 0]\n"
                    "Layer 4 - Expert Routing Weights:\n"
                    "  Token 0: [0.667, 0.333] (sum=1.000)\n"
                    "  Token 1: [0.667, 0.333] (sum=1.000)\n"
                    "\n");
}

TEST(csv_log, writes_header_and_quoted_lists) {
    const example e;
    std::string   text;
    logs::csv_log log(std::make_unique<memory_sink>(text));
    log.ubatch(e.u);
    EXPECT_EQ(text, "Layer,Token,ExpertIDs,ExpertWeights\n"
                    "10,0,\"[42 105 17 88 134 3 99 12]\",\"[0.245 0.189 0.156 0.112 0.089 0.078 0.067 0.064]\"\n");
}

TEST(csv_log, leaves_out_second_blocks_and_says_how_many) {
    planted::plan p;
    p.second_block     = true;
    const auto  layout = planted::layout_of(p);
    const auto  all    = planted::make_ubatches(p, layout);
    std::string text;
    EXPECT_EQ(logs::append_csv_rows(text, all[0].view), all[0].view.token.size());
}

TEST(row_text, shortest_decimals_read_back_as_the_same_float) {
    uint32_t bits = 1;
    for (int i = 0; i < 20000; ++i, bits = bits * 1664525u + 1013904223u) {
        float value;
        std::memcpy(&value, &bits, sizeof(value));
        if (!std::isfinite(value)) {
            continue;
        }
        std::string text;
        logs::append_shortest(text, value);
        const float back = std::strtof(text.c_str(), nullptr);
        ASSERT_EQ(std::memcmp(&back, &value, sizeof(value)), 0) << text;
    }
}

TEST(row_text, says_what_is_not_finite) {
    std::string text;
    for (const float v : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF, -HUGE_VALF}) {
        logs::append_shortest(text, v);
        text += ' ';
        logs::append_fixed(text, v, 3);
        text += ' ';
    }
    EXPECT_EQ(text, "nan nan inf inf -inf -inf ");
}

}  // namespace
}  // namespace moescope::trace
