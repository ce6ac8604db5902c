#include "support/gguf_builder.hpp"

#include "core/error.hpp"
#include "gguf/imatrix.hpp"
#include "prune/scores.hpp"
#include "prune/writer.hpp"

#include <cmath>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>

using namespace moescope;
using namespace moescope::test;

namespace {

std::vector<uint8_t> floats(const std::vector<float> & values) {
    const auto * p = reinterpret_cast<const uint8_t *>(values.data());
    return {p, p + values.size() * sizeof(float)};
}

// As llama-imatrix writes it: sums of squares [ne0, n_expert] and counts [1, n_expert].
gguf_builder make_imatrix() {
    gguf_builder b;
    b.add_string("general.type", "imatrix");
    b.add_u32("imatrix.chunk_count", 3);
    b.add_tensor("blk.1.attn_q.weight.in_sum2", GGML_TYPE_F32, {3}, floats({1, 2, 3}));
    b.add_tensor("blk.1.attn_q.weight.counts", GGML_TYPE_F32, {1}, floats({9}));
    b.add_tensor("blk.1.ffn_down_exps.weight.in_sum2", GGML_TYPE_F32, {2, 4}, floats({0, 1, 10, 11, 20, 21, 30, 31}));
    b.add_tensor("blk.1.ffn_down_exps.weight.counts", GGML_TYPE_F32, {1, 4}, floats({7, 0, 2, 5}));
    return b;
}

std::string write(const std::string & path, const std::string & text) {
    std::ofstream(path) << text;
    return path;
}

constexpr const char * stats = R"({
  "3": {"total_tokens": 10, "activation_frequency": [0.5, 0.25], "avg_gate_weight": [0.2, 0.8],
        "reap": [1, 2], "ean_mean": [4, 3], "activation_counts": [5, 2], "never_activated": [false, false]}
})";

}  // namespace

TEST(gguf_scores, every_criterion_reads_its_column) {
    const scratch_folder dir;
    const std::string    path = write(dir / "expert_stats.json", stats);
    using list                = std::vector<double>;
    EXPECT_EQ(prune::read_expert_scores(path, prune::prune_criterion::reap).layers.at(3), (list{1, 2}));
    EXPECT_EQ(prune::read_expert_scores(path, prune::prune_criterion::man).layers.at(3), (list{4, 3}));
    EXPECT_EQ(prune::read_expert_scores(path, prune::prune_criterion::frequency).layers.at(3), (list{0.5, 0.25}));
    EXPECT_EQ(prune::read_expert_scores(path, prune::prune_criterion::gate).layers.at(3), (list{0.2, 0.8}));
    EXPECT_EQ(prune::read_expert_scores(path, prune::prune_criterion::weighted_frequency).layers.at(3),
              (list{0.5 * 0.2, 0.25 * 0.8}));
    EXPECT_THROW(prune::read_expert_scores(path, prune::prune_criterion::random), usage_error);
}

TEST(gguf_scores, names_go_both_ways) {
    for (const auto c : {prune::prune_criterion::reap, prune::prune_criterion::man, prune::prune_criterion::frequency,
                         prune::prune_criterion::gate, prune::prune_criterion::weighted_frequency,
                         prune::prune_criterion::random, prune::prune_criterion::ids}) {
        EXPECT_EQ(prune::parse_criterion(prune::criterion_name(c)), c);
    }
    EXPECT_THROW(prune::parse_criterion("best"), usage_error);
}

TEST(gguf_scores, broken_statistics_are_refused) {
    const scratch_folder dir;
    for (const char * text :
         {"", "{", "[]", "{}", "{\"x\": {}}", "{\"3\": []}", "{\"3\": {}}", "{\"3\": {\"reap\": [1, null]}}",
          "{\"3\": {\"reap\": [1, \"2\"]}}", "{\"-1\": {\"reap\": [1]}}", "{\"3\": {\"reap\": 1}}"}) {
        EXPECT_THROW(prune::read_expert_scores(write(dir / "s.json", text), prune::prune_criterion::reap), error)
            << text;
    }
    EXPECT_THROW(prune::read_expert_scores(dir / "missing.json", prune::prune_criterion::reap), error);
}

TEST(gguf_scores, an_imatrix_has_counts) {
    const scratch_folder dir;
    const std::string    path   = make_imatrix().write(dir / "imatrix.gguf");
    const auto           scores = prune::read_expert_scores(path, prune::prune_criterion::frequency);
    ASSERT_EQ(scores.layers.size(), 1u);
    EXPECT_EQ(scores.layers.at(1), (std::vector<double>{7, 0, 2, 5}));
    EXPECT_THROW(prune::read_expert_scores(path, prune::prune_criterion::reap), usage_error);

    gguf_builder other;
    other.add_string("general.architecture", "llama");
    other.add_tensor("a", GGML_TYPE_F32, {1});
    EXPECT_THROW(prune::read_expert_scores(other.write(dir / "model.gguf"), prune::prune_criterion::frequency), error);
}

namespace {

std::string refusal_of_counts(const scratch_folder & dir, const std::vector<float> & counts,
                              const char * type = "imatrix") {
    gguf_builder b;
    b.add_string("general.type", type);
    b.add_tensor("blk.0.ffn_up_exps.weight.counts", GGML_TYPE_F32, {1, static_cast<int64_t>(counts.size())},
                 floats(counts));
    try {
        gguf::read_imatrix(b.write(dir / "x.gguf"));
    } catch (const error & e) {
        return e.reason();
    }
    return "";
}

}  // namespace

TEST(gguf_imatrix, tells_the_layers_apart_and_says_which_counts_differ) {
    const scratch_folder dir;
    gguf_builder         b;
    b.add_string("general.type", "imatrix");
    b.add_strings("imatrix.datasets", {"text.txt"});
    b.add_tensor("blk.3.ffn_gate_inp.weight.counts", GGML_TYPE_F32, {1}, floats({10}));
    b.add_tensor("blk.3.ffn_up_exps.weight.counts", GGML_TYPE_F32, {1, 3}, floats({10, 4, 6}));
    b.add_tensor("blk.3.ffn_down_exps.weight.counts", GGML_TYPE_F32, {1, 3}, floats({10, 4, 5}));
    b.add_tensor("blk.3.ffn_down_exps.weight.in_sum2", GGML_TYPE_F32, {1, 3}, floats({0.5, 0.5, 0.5}));
    b.add_tensor("blk.5.ffn_gate_up_exps.weight.counts", GGML_TYPE_F32, {1, 2}, floats({16'777'216, 0}));
    b.add_tensor("blk.7.ffn_up.weight.counts", GGML_TYPE_F32, {1}, floats({10}));
    const gguf::imatrix m = gguf::read_imatrix(b.write(dir / "x.gguf"));
    EXPECT_EQ(m.datasets, std::vector<std::string>{"text.txt"});
    ASSERT_EQ(m.layers.size(), 2u);
    EXPECT_EQ(m.layers.at(3).count, (std::vector<uint64_t>{10, 4, 6}));
    EXPECT_EQ(m.layers.at(3).rows, 10u);
    EXPECT_EQ(m.layers.at(3).tensor, "blk.3.ffn_up_exps.weight");
    EXPECT_EQ(m.layers.at(3).others, std::vector<std::string>{"blk.3.ffn_down_exps.weight"});
    EXPECT_EQ(m.layers.at(5).count, (std::vector<uint64_t>{16'777'216, 0}));
    EXPECT_EQ(m.layers.at(5).rows, 0u) << "not in the file";
}

TEST(gguf_imatrix, refuses_what_cannot_be_counts) {
    const scratch_folder dir;
    EXPECT_EQ(refusal_of_counts(dir, {1, 2}), "");
    for (const float bad : {-1.0f, 0.5f, std::nanf(""), HUGE_VALF, 0x1p63f}) {
        EXPECT_NE(refusal_of_counts(dir, {1, bad}).find("not whole numbers"), std::string::npos) << bad;
    }
    EXPECT_NE(refusal_of_counts(dir, {1}).find("no expert counts"), std::string::npos) << "a dense layer";
    EXPECT_NE(refusal_of_counts(dir, {1, 2}, "model").find("not an imatrix"), std::string::npos);
}

TEST(gguf_scores, an_imatrix_is_sliced_along) {
    const scratch_folder   dir;
    const gguf::model_file imatrix(make_imatrix().write(dir / "imatrix.gguf"));
    prune::prune_plan      plan;
    plan.shape.n_expert  = 4;
    plan.n_keep          = 2;
    plan.layers[1].layer = 1;
    plan.layers[1].kept  = {0, 3};
    prune::write_pruned_imatrix(imatrix, plan, dir / "out.gguf");
    EXPECT_EQ(prune::read_imatrix_scores(dir / "out.gguf").layers.at(1), (std::vector<double>{7, 5}));

    const gguf::model_file out(dir / "out.gguf");
    const auto *           sums = out.find("blk.1.ffn_down_exps.weight.in_sum2");
    ASSERT_NE(sums, nullptr);
    EXPECT_EQ(sums->ne, (std::array<int64_t, 4>{2, 2, 1, 1}));
    std::vector<float> values(4);
    out.parts()[0].file.read_at(out.parts()[0].header.data_begin + sums->offset, values.data(), 16);
    EXPECT_EQ(values, (std::vector<float>{0, 1, 30, 31}));
    EXPECT_EQ(out.find("blk.1.attn_q.weight.in_sum2")->ne[0], 3);
    EXPECT_EQ(out.metadata().get_uint("imatrix.chunk_count"), 3u);

    plan.shape.n_expert = 8;
    EXPECT_THROW(prune::write_pruned_imatrix(imatrix, plan, dir / "again.gguf"), error);
}
