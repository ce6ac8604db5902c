// The traps of reading a routing, each with a test of its own name (docs/capture.md lists them). Most are also held on
// every architecture by capture_architectures_test.

#include "make-model/lora.hpp"
#include "make-model/planted_model.hpp"
#include "make-model/random_model.hpp"
#include "make-model/variants.hpp"
#include "support/model_runner.hpp"
#include "support/process.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>

#include "capture/moe_graph.hpp"
#include "capture/node_name.hpp"
#include "capture/self_test.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;
using capture::node_name;
using make_model::planted_options;
using make_model::planted_truth;

class traps_test : public testing::Test {
protected:
    planted_truth plant(const std::string & arch = "qwen3moe", uint64_t seed = 1) {
        planted_options o;
        o.arch = arch, o.n_expert = 16, o.n_expert_used = 4, o.seed = seed;
        planted_truth truth(o);
        make_model::write_planted_model(path_, truth);
        return truth;
    }

    static std::vector<batch_token> prompt(int n, bool all_outputs = true) {
        std::vector<batch_token> tokens;
        for (int i = 0; i < n; ++i) {
            tokens.push_back({20 + (11 * i) % 200, i, 0, all_outputs || i == n - 1});
        }
        return tokens;
    }

    template <class Work>
    std::vector<recording> captured(model_runner & runner, Work work, column_set what = column_set::all()) {
        capture::capture_options options;
        options.what = what;
        return capture_streams(options, [&](capture::session &) {
            runner.open();
            work();
            runner.close();
        });
    }

    recording of_prompt(const std::string & path, int n = 24) {
        model_runner runner(path);
        auto         streams = captured(runner, [&] { runner.decode(prompt(n)); });
        return std::move(streams.at(0));
    }

    std::string random_model(const std::string & variant) {
        make_model::write_random_model(path_, make_model::find_variant(variant).options);
        return path_;
    }

    std::string random_arch(const std::string & arch) {
        make_model::random_options o;
        o.shape.arch = arch;
        make_model::write_random_model(path_, o);
        return path_;
    }

    static std::vector<int> ints(const row & r) { return {r.ids.begin(), r.ids.end()}; }

    scratch_folder folder_;
    std::string    path_ = folder_ / "model.gguf";
};

// Selected ids lie in a strided view: read as if they were contiguous, all rows but the first are wrong.
TEST_F(traps_test, trap01_topk_is_a_strided_view) {
    const planted_truth truth = plant();
    struct reader {
        std::vector<int> contiguous;
        static bool      eval(ggml_tensor * t, bool ask, void * self) {
                 const bool wanted = std::strcmp(t->name, "ffn_moe_topk-0") == 0;
                 if (!ask && wanted) {
                     const auto * ids = static_cast<const int32_t *>(t->data);
                     static_cast<reader *>(self)->contiguous.assign(ids, ids + t->ne[0] * t->ne[1]);
            }
                 return wanted;
        }
    } wrong;
    model_runner runner(path_);
    auto         params      = model_runner::default_params();
    params.cb_eval           = reader::eval;
    params.cb_eval_user_data = &wrong;
    runner.open(params);
    const auto tokens = prompt(24);
    runner.decode(tokens);
    runner.close();

    size_t misread = 0, at = 0;
    for (const row & r : of_prompt(path_).rows()) {
        EXPECT_EQ(ints(r), truth.ids(static_cast<uint32_t>(r.layer), r.token));
        if (r.layer == 0) {
            misread += !std::equal(r.ids.begin(), r.ids.end(),
                                   wrong.contiguous.begin() + static_cast<std::ptrdiff_t>(4 * at++));
        }
    }
    EXPECT_EQ(misread, tokens.size() - 1);
}

TEST_F(traps_test, trap02_names_of_views_reshapes_and_device_copies) {
    EXPECT_TRUE(node_name("ffn_moe_topk-12").is("ffn_moe_topk"));
    EXPECT_EQ(node_name("ffn_moe_topk-12").il, 12);
    EXPECT_TRUE(node_name("CUDA0#ffn_moe_topk-5#0").is("ffn_moe_topk"));
    EXPECT_EQ(node_name("CUDA0#ffn_moe_topk-5#0").il, 5);
    for (const char * other : {"ffn_moe_weighted-0 (view)", "ffn_moe_topk-3 (reshaped)", "ffn_moe_topk",
                               "ffn_moe_topk-", "ffn_moe_topk-3a", "-3", ""}) {
        EXPECT_EQ(node_name(other).il, -1) << other;
    }
    EXPECT_FALSE(node_name("ffn_moe_weights_norm-3").is("ffn_moe_weights"));
}

// With biases the output is ffn_moe_down_biased, and no node is called ffn_moe_down any more.
TEST_F(traps_test, trap03_expert_output_is_the_last_down) {
    const planted_truth truth = plant("gpt-oss");
    for (const row & r : of_prompt(path_).rows()) {
        const auto want = truth.norms(static_cast<uint32_t>(r.layer), r.token);
        for (size_t i = 0; i < want.size(); ++i) {
            EXPECT_NEAR(r.values.at(column::norms)[i], want[i], 1e-5 * want[i]);
        }
    }
}

// gpt-oss: before the softmax over the selected, the gates are logits.
TEST_F(traps_test, trap04_final_gates_are_not_the_raw_ones) {
    const planted_truth truth  = plant("gpt-oss");
    size_t              differ = 0;
    for (const row & r : of_prompt(path_).rows()) {
        const auto final_gates = truth.weights(static_cast<uint32_t>(r.layer), r.token);
        for (size_t i = 0; i < final_gates.size(); ++i) {
            EXPECT_NEAR(r.values.at(column::weights)[i], final_gates[i], 1e-5 * final_gates[i]);
            differ += std::abs(r.values.at(column::weights_raw)[i] - final_gates[i]) > 1e-2;
        }
    }
    EXPECT_GT(differ, 0u);
}

TEST_F(traps_test, trap05_llama4_gates_the_input) {
    for (const row & r : of_prompt(random_arch("llama4")).rows()) {
        EXPECT_TRUE(r.layout.has(block_layout::norms_gated));
        EXPECT_GT(r.values.at(column::norms)[0], 0);
    }
}

TEST_F(traps_test, trap06_last_layer_has_the_requested_rows_only) {
    const planted_truth                     truth = plant();
    model_runner                            runner(path_);
    const auto                              streams = captured(runner, [&] { runner.decode(prompt(24, false)); });
    std::map<int32_t, std::vector<int32_t>> positions;
    for (const row & r : streams.at(0).rows()) {
        EXPECT_EQ(ints(r), truth.ids(static_cast<uint32_t>(r.layer), r.token));
        positions[r.layer].push_back(r.pos);
    }
    EXPECT_EQ(positions[0].size(), 24u);
    EXPECT_EQ(positions[2], (std::vector<int32_t>{23}));
}

TEST_F(traps_test, trap07_warm_up_is_not_recorded) {
    plant();
    model_runner runner(path_);
    const auto   with = captured(runner, [&] {
        runner.decode({{1, 0}, {2, 1}});
        llama_memory_clear(llama_get_memory(runner.context()), true);
        llama_perf_context_reset(runner.context());
        runner.decode(prompt(6));
    });
    EXPECT_EQ(with.at(0).tokens_per_ubatch, (std::vector<uint32_t>{6}));
    const auto without = captured(runner, [&] {
        runner.decode({{1, 0}, {2, 1}});  // small, first, but nothing is reset behind it
        llama_memory_clear(llama_get_memory(runner.context()), true);
        runner.decode(prompt(6));
    });
    EXPECT_EQ(without.at(0).tokens_per_ubatch, (std::vector<uint32_t>{2, 6}));
    const auto timed = captured(runner, [&] {
        runner.decode(prompt(6));
        llama_perf_context_reset(runner.context());  // times what comes, and keeps what was
        runner.decode({{7, 6}});
    });
    EXPECT_EQ(timed.at(0).tokens_per_ubatch, (std::vector<uint32_t>{6, 1}));
    const auto only = captured(runner, [&] { runner.decode({{1, 0}, {2, 1}}); });
    EXPECT_EQ(only.at(0).tokens_per_ubatch, (std::vector<uint32_t>{2}));  // held back, but not lost
}

TEST_F(traps_test, trap08_grove_moe_has_two_blocks_per_layer) {
    std::set<std::pair<int, int>> blocks;
    size_t                        repeated = 0;
    for (const row & r : of_prompt(random_model("grovemoe-pairs")).rows()) {
        blocks.insert({r.layer, r.block});
        EXPECT_EQ(r.layout.has(block_layout::ids_repeat), r.block == 1);
        repeated += r.block == 1 && std::set<uint32_t>(r.ids.begin(), r.ids.end()).size() < r.ids.size();
    }
    EXPECT_EQ(blocks.count({0, 1}), blocks.count({0, 0}));
    EXPECT_GT(repeated, 0u) << "experts of one group are never chosen together: this test cannot see the trap";
}

// A bias for the selection alone: the top-k of the probabilities is another set.
TEST_F(traps_test, trap09_selection_is_not_the_top_of_the_logits) {
    const planted_truth truth  = plant("minimax-m2");
    size_t              differ = 0;
    for (const row & r : of_prompt(path_).rows()) {
        EXPECT_EQ(ints(r), truth.ids(static_cast<uint32_t>(r.layer), r.token));
        const auto & logits = r.values.at(column::logits);
        const float  worst  = logits[*std::min_element(r.ids.begin(), r.ids.end(),
                                                       [&](uint32_t a, uint32_t b) { return logits[a] < logits[b]; })];
        size_t       above  = 0;
        for (const float l : logits) {
            above += l > worst;
        }
        differ += above >= r.ids.size();
    }
    EXPECT_GT(differ, 0u);
}

// Through a LoRA adapter the router's product is three nodes behind its scores.
TEST_F(traps_test, trap10_gate_input_is_read_behind_the_router) {
    make_model::random_options o;
    o.shape.arch = "qwen3moe";
    make_model::write_random_model(path_, o);
    make_model::write_lora(folder_ / "lora.gguf", path_);
    model_runner runner(path_);
    const auto   streams = captured(runner, [&] {
        llama_adapter_lora * adapter = llama_adapter_lora_init(runner.model(), (folder_ / "lora.gguf").c_str());
        float                scale   = 1;
        llama_set_adapters_lora(runner.context(), &adapter, 1, &scale);
        runner.decode(prompt(12));
    });
    for (const row & r : streams.at(0).rows()) {
        ASSERT_EQ(r.values.count(column::gate_input), 1u);
        EXPECT_EQ(r.values.at(column::gate_input).size(), r.layout.n_embd);
    }
}

TEST_F(traps_test, trap11_adapters_chosen_by_id_are_not_experts) {
    ggml_tensor w         = {};
    const auto  is_expert = [&](const char * name) {
        std::snprintf(w.name, sizeof(w.name), "%s", name);
        return capture::is_expert_weight(&w);
    };
    EXPECT_TRUE(is_expert("blk.3.ffn_down_exps.weight"));
    EXPECT_TRUE(is_expert("blk.3.ffn_gate_up_exps.weight"));
    EXPECT_TRUE(is_expert("blk.3.ffn_up_chexps.weight"));
    EXPECT_FALSE(is_expert("blk.3.attn_q_lora.weight"));
    EXPECT_FALSE(is_expert("blk.3.ffn_down_exps.weight.lora_a"));
    EXPECT_FALSE(is_expert("blk.3.ffn_down_shexp.weight"));
}

TEST_F(traps_test, trap12_contexts_never_mix) {
    const planted_truth one = plant("qwen3moe", 1);
    make_model::write_planted_model(folder_ / "two.gguf", planted_truth([] {
                                        planted_options o;
                                        o.n_expert = 16, o.n_expert_used = 4, o.seed = 2;
                                        return o;
                                    }()));
    planted_options o;
    o.n_expert = 16, o.n_expert_used = 4, o.seed = 2;
    const planted_truth two(o);
    model_runner        a(path_), b(folder_ / "two.gguf"), c(path_);
    const auto          streams = captured(a, [&] {
        b.open();
        c.open();
        for (int i = 0; i < 5; ++i) {
            a.decode({{30 + i, i}});
            b.decode({{60 + i, i}});
            c.decode({{90 + i, i}});
        }
        b.close();
        c.close();
    });
    ASSERT_EQ(streams.size(), 3u);
    for (const recording & s : streams) {
        ASSERT_EQ(s.tokens_per_ubatch.size(), 5u);
        const int32_t first = s.rows()[0].token;
        for (const row & r : s.rows()) {
            EXPECT_EQ(r.token, first + r.pos);
            EXPECT_EQ(ints(r), (first == 60 ? two : one).ids(static_cast<uint32_t>(r.layer), r.token));
        }
    }
}

TEST_F(traps_test, trap13_a_tensor_laid_out_differently_is_noticed) {
    capture::ggml_api api;
    std::string       missing;
    ASSERT_TRUE(api.resolve(nullptr, missing)) << missing;
    ggml_tensor   t     = {};
    ggml_tensor * nodes = &t;
    t.ne[0] = t.ne[1] = t.ne[2] = t.ne[3] = 1;
    t.nb[0] = t.nb[1] = t.nb[2] = t.nb[3] = 4;
    EXPECT_EQ(capture::test_nodes(api, &nodes, 1), "");

    const auto tampered = [&](auto tamper) {
        capture::ggml_api other = api;
        tamper(other);
        return capture::test_nodes(other, &nodes, 1);
    };
    EXPECT_NE(tampered([](auto & a) { a.ggml_get_name = [](const ggml_tensor * x) { return x->name + 8; }; }), "");
    EXPECT_NE(tampered([](auto & a) {
                  a.ggml_get_data = [](const ggml_tensor * x) {
                      return static_cast<void *>(x->extra == nullptr ? const_cast<ggml_tensor *>(x) : nullptr);
                  };
              }),
              "");
    EXPECT_NE(tampered([](auto & a) { a.ggml_nelements = [](const ggml_tensor *) { return int64_t(2); }; }), "");
    EXPECT_NE(tampered([](auto & a) { a.ggml_nbytes = [](const ggml_tensor *) { return size_t(12); }; }), "");
}

// Rounding depends on the shape of a batch; planted models have a margin that it cannot cross, others may not.
TEST_F(traps_test, trap14_batch_shape_changes_rounding_not_planted_routes) {
    const planted_truth truth = plant();
    const auto          rows  = [&](uint32_t n_ubatch) {
        model_runner             runner(path_);
        capture::capture_options options;
        auto                     streams = capture_streams(options, [&](capture::session &) {
            auto params     = model_runner::default_params();
            params.n_ubatch = n_ubatch;
            runner.open(params);
            runner.decode(prompt(60));
            runner.close();
        });
        std::map<std::pair<int32_t, int32_t>, std::vector<uint32_t>> by_place;
        for (const row & r : streams.at(0).rows()) {
            by_place[{r.layer, r.pos}] = r.ids;
        }
        return by_place;
    };
    EXPECT_EQ(rows(64), rows(7));
    random_model("qwen3moe-q4_0");
    const auto whole = rows(64), cut = rows(7);
    size_t     differ = 0;
    for (const auto & [place, ids] : whole) {
        differ += ids != cut.at(place);
    }
    std::printf("rows that other ubatches route differently in a Q4_0 model: %zu of %zu\n", differ, whole.size());
    EXPECT_EQ(whole.size(), cut.size());
}

}  // namespace
