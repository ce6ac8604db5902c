#include "support/pruned_moe.hpp"

#include "core/error.hpp"
#include "gguf/fingerprint.hpp"
#include "prune/load_scores.hpp"
#include "stats/moestats.hpp"

#include <gtest/gtest.h>

using namespace moescope;
using namespace moescope::test;

namespace {

// Two experts of layer 3 over 10 rows: the first selected 4 times, the second 6 times. And a second block, which is not
// about routed experts.
std::string write_profile(const std::string & path, uint32_t flags = 0, const std::string & model = "",
                          bool complete = true) {
    stats::saliency_block block;
    block.layer = 3, block.n_expert = 2, block.n_expert_used = 1, block.flags = flags, block.rows = 10;
    block.count      = {4, 6};
    block.gate       = {2.0, 1.5};
    block.gated_norm = {8.0, 3.0};
    block.norm       = {16.0, 12.0};
    block.max_norm   = {5.0f, 2.0f};
    stats::moestats profile;
    profile.blocks            = {block, block};
    profile.blocks[1].block   = 1;
    profile.model_fingerprint = model.empty() ? 0 : gguf::fingerprint(model);
    profile.model.file        = "profiled.gguf";
    profile.corpora.resize(1);
    profile.corpora[0].complete = complete;
    const std::string bytes     = stats::encode_moestats(profile);
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path;
}

}  // namespace

TEST(prune_scores, come_from_the_exact_sums) {
    const scratch_folder dir;
    const std::string    path = write_profile(dir / "expert_stats.moestats");
    using list                = std::vector<double>;
    const auto of             = [&](prune::prune_criterion c) { return prune::load_scores(path, {c}).layers; };
    EXPECT_EQ(of(prune::prune_criterion::reap).size(), 1u);
    EXPECT_EQ(of(prune::prune_criterion::reap).at(3), (list{8.0 / 4, 3.0 / 6}));
    EXPECT_EQ(of(prune::prune_criterion::man).at(3), (list{16.0 / 4, 12.0 / 6}));
    EXPECT_EQ(of(prune::prune_criterion::frequency).at(3), (list{4.0 / 10, 6.0 / 10}));
    EXPECT_EQ(of(prune::prune_criterion::gate).at(3), (list{2.0 / 4, 1.5 / 6}));
    EXPECT_EQ(of(prune::prune_criterion::weighted_frequency).at(3), (list{2.0 / 10, 1.5 / 10}));
}

TEST(prune_scores, no_norm_without_its_gate_where_the_model_gates_the_input) {
    const scratch_folder dir;
    const std::string    path = write_profile(dir / "s.moestats", block_layout::norms_gated);
    EXPECT_THROW(prune::load_scores(path, {prune::prune_criterion::man}), usage_error);
    EXPECT_EQ(prune::load_scores(path, {prune::prune_criterion::reap}).layers.at(3).size(), 2u);
}

TEST(prune_scores, of_another_file_or_of_half_a_corpus_are_doubted) {
    const scratch_folder dir;
    const moe_options    o;
    const std::string    mine = dir / "mine.gguf", other = dir / "other.gguf", path = dir / "s.moestats";
    make_moe(o).write(mine);
    std::ofstream(other, std::ios::binary) << std::ifstream(mine, std::ios::binary).rdbuf() << "x";
    write_profile(path, 0, mine);
    const auto doubt = [&](const stats::moestats & profile, const std::string & model) {
        return prune::doubt_about_scores(profile, path, gguf::model_file(model));
    };
    EXPECT_EQ(doubt(stats::read_moestats(path), mine).text, "");
    EXPECT_NE(doubt(stats::read_moestats(path), other).text.find("profiled.gguf"), std::string::npos);
    write_profile(path, 0, mine, false);
    EXPECT_NE(doubt(stats::read_moestats(path), mine).text.find("not finished"), std::string::npos);

    // A trace that was brought from another machine: the model's bytes are not known, its size is.
    write_profile(path, 0, mine);
    stats::moestats brought   = stats::read_moestats(path);
    brought.model_fingerprint = 0;
    brought.shape_fingerprint = 0;
    brought.model.file_size   = std::filesystem::file_size(mine);
    EXPECT_FALSE(doubt(brought, mine).serious);
    EXPECT_NE(doubt(brought, mine).text, "");
    EXPECT_TRUE(doubt(brought, other).serious);
}
