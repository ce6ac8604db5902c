#include "support/pruned_moe.hpp"

#include "prune/expert_choice.hpp"

#include <limits>

using namespace moescope;
using namespace moescope::test;

TEST(gguf_prune_plan, groups_shrink_equally) {
    moe_options o;
    o.n_expert = 16, o.n_used = 3, o.groups = 4, o.groups_used = 2;
    const scratch_folder       dir;
    const gguf::model_file     model(make_moe(o).write(dir / "m.gguf"));
    const prune::prune_request request = keep_n(8, o);
    const prune::prune_plan    plan    = prune::plan_prune(model, request);
    for (const auto & [il, layer] : plan.layers) {
        const auto & scores = request.scores.layers.at(il);
        for (int g = 0; g < 4; ++g) {
            std::vector<int32_t> group = {4 * g, 4 * g + 1, 4 * g + 2, 4 * g + 3};
            std::sort(group.begin(), group.end(),
                      [&](int32_t a, int32_t b) { return scores[size_t(a)] > scores[size_t(b)]; });
            for (int i = 0; i < 4; ++i) {
                EXPECT_EQ(std::count(layer.kept.begin(), layer.kept.end(), group[size_t(i)]), i < 2 ? 1 : 0);
            }
        }
    }
    EXPECT_SAYS(refusal(o, 10), "multiple of 4");
    EXPECT_SAYS(refusal(o, 4), "keep at least 8");  // one in each group: the router rates groups by their best two
    o.n_used = 5;
    EXPECT_SAYS(refusal(o, 8), "keep at least 12");  // two groups of two hold only four
    EXPECT_EQ(refusal(o, 12), "");
}

TEST(gguf_prune_plan, mtp_blocks_shrink_too) {
    moe_options o;
    o.arch = "glm4moe", o.n_layer = 3, o.n_nextn = 1;
    const scratch_folder   dir;
    const gguf::model_file model(make_moe(o).write(dir / "m.gguf"));
    prune::prune_request   request = keep_n(4, o);
    prune::prune_plan      plan    = prune::plan_prune(model, request);
    EXPECT_TRUE(plan.layers.at(2).is_mtp);
    EXPECT_TRUE(plan.warnings.empty());
    request.scores.layers.erase(2);  // never ran
    plan = prune::plan_prune(model, request);
    EXPECT_EQ(plan.layers.at(2).kept.size(), 4u);
    ASSERT_EQ(plan.warnings.size(), 1u);
    EXPECT_SAYS(plan.warnings[0], "layer 2 (MTP)");
    prune::write_pruned(model, plan, {"reap", "", 0}, dir / "out.gguf");
    EXPECT_EQ(gguf::model_file(dir / "out.gguf").find("blk.2.ffn_down_exps.weight")->ne[2], 4);

    request.scores.layers.erase(1);
    EXPECT_SAYS(refusal(model, request), "nothing about layer 1");
}

TEST(gguf_prune_plan, per_layer_top_k_bounds_the_count) {
    gguf_builder b;
    b.add_string("general.architecture", "nemotron_h_moe");
    b.add_u32("nemotron_h_moe.block_count", 3);
    b.add_u32("nemotron_h_moe.expert_count", 8);
    b.add_u32s("nemotron_h_moe.expert_used_count", {0, 2, 5});
    b.add_tensor("blk.1.ffn_gate_inp.weight", GGML_TYPE_F32, {4, 8});
    b.add_tensor("blk.1.ffn_up_exps.weight", GGML_TYPE_F32, {4, 3, 8});
    const scratch_folder   dir;
    const gguf::model_file model(b.write(dir / "m.gguf"));
    prune::prune_request   request;
    request.criterion = prune::prune_criterion::random;
    request.n_keep    = 4;
    EXPECT_SAYS(refusal(model, request), "a token uses 5");
    request.n_keep = 5;
    EXPECT_EQ(refusal(model, request), "");
}

TEST(gguf_prune_plan, refusals_name_their_reason) {
    const scratch_folder dir;
    const moe_options    o;
    EXPECT_SAYS(refusal(o, 1), "a token uses 2");
    EXPECT_SAYS(refusal(o, 9), "cannot keep 9 experts of 8");

    gguf_builder b = make_moe(o);
    b.add_tensor("blk.0.ffn_sideways_exps.weight", GGML_TYPE_F32, {4, 3, 8});
    b.add_tensor("blk.1.mystery.weight", GGML_TYPE_F32, {4, 3, 8});
    const gguf::model_file unknown(b.write(dir / "unknown.gguf"));
    EXPECT_SAYS(refusal(unknown, keep_n(4, o)), "blk.0.ffn_sideways_exps.weight, blk.1.mystery.weight");

    b = make_moe(o);
    for (auto & t : b.tensors) {
        if (t.name == "blk.1.ffn_gate_inp.weight") {
            t.name = "blk.1.ffn_other.weight";
        }
    }
    EXPECT_SAYS(refusal(gguf::model_file(b.write(dir / "norouter.gguf")), keep_n(4, o)),
                "layer 1 has experts but 0 routers");

    b = make_moe(o);
    b.add_tensor("blk.0.ffn_gate.3.weight", GGML_TYPE_F32, {4, 3});  // one tensor per expert: before 2024
    EXPECT_SAYS(refusal(gguf::model_file(b.write(dir / "old.gguf")), keep_n(4, o)), "blk.0.ffn_gate.3.weight");

    moe_options other = o;
    other.n_expert    = 16;
    EXPECT_SAYS(refusal(gguf::model_file(make_moe(o).write(dir / "m.gguf")), keep_n(4, other)), "another model");

    moe_options maverick = o;
    maverick.arch = "llama4", maverick.n_expert = 128, maverick.n_used = 1;
    EXPECT_SAYS(refusal(maverick, 64), "Maverick");
    EXPECT_EQ(refusal(maverick, 128), "");
    maverick.n_expert = 16;
    EXPECT_EQ(refusal(maverick, 8), "");

    moe_options dense = o;
    dense.n_expert = 0, dense.n_used = 0;
    gguf_builder plain;
    plain.add_string("general.architecture", "llama");
    plain.add_tensor("token_embd.weight", GGML_TYPE_F32, {4, 5});
    EXPECT_SAYS(refusal(gguf::model_file(plain.write(dir / "dense.gguf")), keep_n(4, o)), "not a mixture of experts");

    prune::prune_request nan = keep_n(4, o);
    nan.scores.layers[0][3]  = std::numeric_limits<double>::quiet_NaN();
    EXPECT_SAYS(refusal(gguf::model_file(dir / "m.gguf"), nan), "not finite");
}

TEST(gguf_prune_plan, protected_experts_stay) {
    const scratch_folder   dir;
    const moe_options      o;
    const gguf::model_file model(make_moe(o).write(dir / "m.gguf"));
    prune::prune_request   request = keep_n(3, o);
    for (auto & [il, scores] : request.scores.layers) {
        std::iota(scores.begin(), scores.end(), 0);  // the best are 5, 6, 7
    }
    request.protect              = prune::parse_expert_ids({"0", "1:2"}, "--protect");
    const prune::prune_plan plan = prune::plan_prune(model, request);
    EXPECT_EQ(plan.layers.at(0).kept, (std::vector<int32_t>{0, 6, 7}));
    EXPECT_EQ(plan.layers.at(1).kept, (std::vector<int32_t>{0, 2, 7}));
    request.protect = prune::parse_expert_ids({"0,1,2,3"}, "--protect");
    EXPECT_SAYS(refusal(model, request), "protected");
    request.protect = prune::parse_expert_ids({"8"}, "--protect");
    EXPECT_SAYS(refusal(model, request), "expert 8");
    request.protect = prune::parse_expert_ids({"77:1"}, "--protect");
    EXPECT_SAYS(refusal(model, request), "layer 77");
    EXPECT_THROW(prune::parse_expert_ids({"1,x"}, "--protect"), usage_error);
    EXPECT_THROW(prune::parse_expert_ids({""}, "--protect"), usage_error);
}

TEST(gguf_prune_plan, ids_from_a_file) {
    const scratch_folder   dir;
    const moe_options      o;
    const gguf::model_file model(make_moe(o).write(dir / "m.gguf"));
    prune::prune_request   request;
    request.criterion = prune::prune_criterion::ids;
    const auto from   = [&](const std::string & text) {
        std::ofstream(dir / "ids") << text;
        request.keep_ids = prune::read_expert_ids(dir / "ids");
        return request;
    };
    for (const char * text :
         {"# mine\n0: 7, 2, 3\n1: 0 1 2\n", "0,7 2 3\n1,0 1 2", R"({"0": [7, 2, 3], "1": [0, 1, 2]})"}) {
        const prune::prune_plan plan = prune::plan_prune(model, from(text));
        EXPECT_EQ(plan.n_keep, 3u);
        EXPECT_EQ(plan.layers.at(0).kept, (std::vector<int32_t>{2, 3, 7}));
        EXPECT_EQ(plan.layers.at(1).kept, (std::vector<int32_t>{0, 1, 2}));
    }
    EXPECT_SAYS(refusal(model, from("0: 1 2 3\n1: 1 2\n")), "one expert_count");
    EXPECT_SAYS(refusal(model, from("0: 1 2 3\n")), "nothing about layer 1");
    EXPECT_SAYS(refusal(model, from("0: 1 2 3\n1: 1 2 8\n")), "expert 8");
    EXPECT_SAYS(refusal(model, from("0: 1 2 3\n1: 1 2 2\n")), "is listed twice");
    EXPECT_SAYS(refusal(model, from("0: 1 2 3\n1: 1 2 3\n7: 1 2 3\n")), "layer 7 has no experts");
    EXPECT_THROW(from("0: 1 2\n0: 3 4\n"), error);
    EXPECT_THROW(from("zero: 1 2\n"), error);
    EXPECT_THROW(from(""), error);

    moe_options grouped;
    grouped.groups = 2, grouped.groups_used = 1;
    const gguf::model_file groups(make_moe(grouped).write(dir / "g.gguf"));
    EXPECT_EQ(refusal(groups, from("0: 0 1 4 5\n1: 2 3 6 7\n")), "");
    EXPECT_SAYS(refusal(groups, from("0: 0 1 2 5\n1: 2 3 6 7\n")), "same number");
}

TEST(gguf_prune_plan, random_is_seeded) {
    EXPECT_EQ(prune::random_scores(7, 3, 64), prune::random_scores(7, 3, 64));
    EXPECT_NE(prune::random_scores(7, 3, 64), prune::random_scores(8, 3, 64));
    EXPECT_NE(prune::random_scores(7, 3, 64), prune::random_scores(7, 4, 64));
    double sum = 0;
    for (const double s : prune::random_scores(1, 0, 10000)) {
        ASSERT_GE(s, 0);
        ASSERT_LT(s, 1);
        sum += s;
    }
    EXPECT_NEAR(sum / 10000, 0.5, 0.02);  // 1 / sqrt(12 * 10000) is 0.003
}

TEST(gguf_prune_plan, ratio_is_what_goes) {
    gguf::moe_shape shape;
    shape.n_expert = 64;
    EXPECT_EQ(prune::keep_for_ratio(shape, 0.25), 48u);
    EXPECT_EQ(prune::keep_for_ratio(shape, 0.0), 64u);
    EXPECT_EQ(prune::keep_for_ratio(shape, 0.3), 45u);  // 44.8: never more than asked for
    shape.n_expert_groups = 8;
    EXPECT_EQ(prune::keep_for_ratio(shape, 0.3), 48u);
}

TEST(gguf_prune_plan, warns_of_what_pruning_changes) {
    const scratch_folder dir;
    moe_options          o;
    const auto           plan = [&](const std::string & arch, uint32_t n_keep) {
        o.arch = arch;
        return prune::plan_prune(gguf::model_file(make_moe(o).write(dir / "m.gguf")), keep_n(n_keep, o));
    };
    EXPECT_TRUE(plan("glm4moe", 4).warnings.empty());  // a sigmoid for each expert: nothing changes for the others
    EXPECT_TRUE(warns(plan("glm4moe", 5), "CUDA"));
    EXPECT_TRUE(warns(plan("olmoe", 4), "softmax over all"));
    EXPECT_TRUE(warns(plan("deepseek2", 4), "softmax over all"));
    EXPECT_TRUE(warns(plan("ernie4_5-moe", 4), "adds a bias"));
    EXPECT_FALSE(warns(plan("ernie4_5-moe", 4), "softmax over all"));  // normalised after the selection
    EXPECT_TRUE(plan("olmoe", 8).warnings.empty());                    // nothing goes
}
