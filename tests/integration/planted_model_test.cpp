// The closed form of planted models, against two things that do not know it: a double-precision forward pass over the
// tensors of the written file, and llama.cpp itself.

#include "core/error.hpp"
#include "ggml.h"
#include "llama.h"
#include "make-model/gguf_file.hpp"
#include "make-model/planted_family.hpp"
#include "make-model/planted_model.hpp"
#include "support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>
#include <unistd.h>

using namespace moescope::make_model;
using namespace moescope::test;

namespace {

using doubles = std::vector<double>;

struct routed {
    std::vector<int> ids;
    doubles          weights, norms;
};

// An MoE transformer without attention, as its GGUF says, in double precision.
class reference {
public:
    reference(const std::string & path, const std::string & arch) : family_(planted_family_of(arch)) {
        gguf_init_params params = {false, &ctx_};
        gguf_.reset(gguf_init_from_file(path.c_str(), params));
    }
    ~reference() { ggml_free(ctx_); }

    std::vector<routed> run(int token, int n_layer, int k) const {
        doubles             x = row("token_embd.weight", token);
        std::vector<routed> layers;
        for (int il = 0; il < n_layer; il++) {
            layers.push_back(block(il, k, x));
        }
        return layers;
    }

    bool attention_is_silent(int n_layer) const {
        for (int il = 0; il < n_layer; il++) {
            const ggml_tensor * out  = tensor(name(il, "attn_output.weight"));
            const float *       data = static_cast<const float *>(out->data);
            if (std::any_of(data, data + ggml_nelements(out), [](float v) { return v != 0.0f; })) {
                return false;
            }
        }
        return true;
    }

private:
    static std::string  name(int il, const std::string & rest) { return "blk." + std::to_string(il) + "." + rest; }
    const ggml_tensor * tensor(const std::string & n) const {
        const ggml_tensor * t = ggml_get_tensor(ctx_, n.c_str());
        if (t == nullptr) {
            throw std::runtime_error("no tensor " + n);
        }
        return t;
    }
    doubles row(const std::string & n, int64_t i) const {
        const ggml_tensor * t    = tensor(n);
        const float *       data = static_cast<const float *>(t->data) + i * t->ne[0];
        return doubles(data, data + t->ne[0]);
    }
    static double dot(const doubles & a, const doubles & b) {
        return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
    }

    doubles rms_norm(const doubles & x, const doubles & w) const {
        const double s = 1.0 / std::sqrt(dot(x, x) / x.size() + static_cast<double>(1e-5f));
        doubles      y(x.size());
        for (size_t i = 0; i < x.size(); i++) {
            y[i] = x[i] * s * w[i];
        }
        return y;
    }

    double bias(int il, const std::string & n, int64_t r, int64_t i) const {
        return family_.has_biases ? row(name(il, n), r)[i] : 0.0;
    }

    doubles expert(int il, int e, const doubles & x) const {
        const ggml_tensor * down = tensor(name(il, "ffn_down_exps.weight"));
        const int64_t       n_ff = down->ne[0], n_embd = down->ne[1];
        doubles             h(n_ff), y(n_embd);
        for (int64_t j = 0; j < n_ff; j++) {
            double g =
                dot(row(name(il, "ffn_gate_exps.weight"), e * n_ff + j), x) + bias(il, "ffn_gate_exps.bias", e, j);
            double u = dot(row(name(il, "ffn_up_exps.weight"), e * n_ff + j), x) + bias(il, "ffn_up_exps.bias", e, j);
            if (family_.has_biases) {
                g    = std::min(g, 7.0);
                u    = std::max(-7.0, std::min(u, 7.0));
                h[j] = g / (1.0 + std::exp(-1.702 * g)) * (u + 1.0);
            } else {
                h[j] = g / (1.0 + std::exp(-g)) * u;
            }
        }
        for (int64_t d = 0; d < n_embd; d++) {
            y[d] = dot(row(name(il, "ffn_down_exps.weight"), e * n_embd + d), h) + bias(il, "ffn_down_exps.bias", e, d);
        }
        return y;
    }

    routed block(int il, int k, doubles & x) const {
        using kind             = planted_family::router_kind;
        const doubles n        = rms_norm(x, row(name(il, std::string(family_.ffn_norm) + ".weight"), 0));
        const int     n_expert = static_cast<int>(tensor(name(il, "ffn_gate_inp.weight"))->ne[1]);
        doubles       score(n_expert), chooser(n_expert);
        for (int e = 0; e < n_expert; e++) {
            const double logit = dot(row(name(il, "ffn_gate_inp.weight"), e), n) + bias(il, "ffn_gate_inp.bias", 0, e);
            score[e] = family_.router == kind::sigmoid_biased ? 1.0 / (1.0 + std::exp(-logit)) : std::exp(logit);
            chooser[e] =
                score[e] + (family_.router == kind::sigmoid_biased ? row(name(il, "exp_probs_b.bias"), 0)[e] : 0.0);
        }
        routed r;
        r.ids.resize(n_expert);
        std::iota(r.ids.begin(), r.ids.end(), 0);
        std::sort(r.ids.begin(), r.ids.end(), [&](int a, int b) { return chooser[a] > chooser[b]; });
        r.ids.resize(k);
        double sum = 0;
        if (family_.router == kind::softmax) {
            sum = std::accumulate(score.begin(), score.end(), 0.0);
        } else {
            for (int e : r.ids) {
                sum += score[e];
            }
        }
        for (int e : r.ids) {
            const doubles y = expert(il, e, n);
            r.weights.push_back(score[e] / sum);
            r.norms.push_back(std::sqrt(dot(y, y)));
            for (size_t d = 0; d < x.size(); d++) {
                x[d] += r.weights.back() * y[d];
            }
        }
        return r;
    }

    const planted_family & family_;
    ggml_context *         ctx_ = nullptr;
    gguf_ptr               gguf_;
};

// What llama.cpp computes, through its eval callback: for each layer, one entry per row of the ubatch.
struct observer {
    std::map<int, std::vector<routed>> layers;

    // The MUL by the gates may overwrite the expert output, so each is read when it appears, under its own name.
    static bool is(const std::string & name, const char * base) {
        const std::string prefix = std::string(base) + "-";
        return name.compare(0, prefix.size(), prefix) == 0 &&
               name.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
    }
    static bool wants(const std::string & name) {
        return is(name, "ffn_moe_topk") || is(name, "ffn_moe_down") || is(name, "ffn_moe_down_biased") ||
               is(name, "ffn_moe_weighted");
    }
    static float at(const ggml_tensor * t, int64_t i0, int64_t i1, int64_t i2) {
        float v;
        std::memcpy(&v, static_cast<const char *>(t->data) + i0 * t->nb[0] + i1 * t->nb[1] + i2 * t->nb[2], sizeof v);
        return v;
    }
    static bool callback(ggml_tensor * t, bool ask, void * self) {
        const std::string name = t->name;
        if (ask) {
            return wants(name);
        }
        static_cast<observer *>(self)->see(t, std::stoi(name.substr(name.rfind('-') + 1)));
        return true;
    }
    void see(const ggml_tensor * t, int il) {
        if (is(t->name, "ffn_moe_topk")) {
            see_ids(t, layers[il]);
        } else if (is(t->name, "ffn_moe_weighted")) {
            see_rows(t->src[1], layers[il], [](routed & r, const ggml_tensor * gate, int64_t i, int64_t row) {
                r.weights.push_back(at(gate, 0, i, row));
            });
        } else {
            see_rows(t, layers[il], [](routed & r, const ggml_tensor * out, int64_t i, int64_t row) {
                double squares = 0;
                for (int64_t d = 0; d < out->ne[0]; d++) {
                    squares += static_cast<double>(at(out, d, i, row)) * at(out, d, i, row);
                }
                r.norms.resize(static_cast<size_t>(out->ne[1]));
                r.norms[static_cast<size_t>(i)] = std::sqrt(squares);
            });
        }
    }
    static void see_ids(const ggml_tensor * t, std::vector<routed> & rows) {
        for (int64_t row = 0; row < t->ne[1]; row++) {
            rows.emplace_back();
            for (int64_t i = 0; i < t->ne[0]; i++) {
                int32_t id;
                std::memcpy(&id, static_cast<const char *>(t->data) + row * t->nb[1] + i * t->nb[0], sizeof id);
                rows.back().ids.push_back(id);
            }
        }
    }
    template <class F>
    static void see_rows(const ggml_tensor * t, std::vector<routed> & rows, F && see_one) {
        const size_t first = rows.size() - static_cast<size_t>(t->ne[2]);
        for (int64_t row = 0; row < t->ne[2]; row++) {
            for (int64_t i = 0; i < t->ne[1]; i++) {
                see_one(rows[first + static_cast<size_t>(row)], t, i, row);
            }
        }
    }
};

struct llama_run {
    std::map<int, std::vector<routed>> layers;
    std::vector<int>                   greedy;  // per row
};

llama_run decode(const std::string & path, const std::vector<llama_token> & tokens, int n_ubatch) {
    observer  watch;
    llama_run result;
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_model_params mparams = llama_model_default_params();
    llama_model *      model   = llama_model_load_from_file(path.c_str(), mparams);
    EXPECT_NE(model, nullptr);
    llama_context_params cparams = llama_context_default_params();
    cparams.n_ctx                = 1024;
    cparams.n_batch              = 1024;
    cparams.n_ubatch             = n_ubatch;
    cparams.n_threads = cparams.n_threads_batch = 1;
    cparams.cb_eval                             = observer::callback;
    cparams.cb_eval_user_data                   = &watch;
    llama_context * ctx                         = llama_init_from_model(model, cparams);
    llama_batch     batch                       = llama_batch_init(static_cast<int32_t>(tokens.size()), 0, 1);
    for (size_t i = 0; i < tokens.size(); i++) {
        batch.token[i]     = tokens[i];
        batch.pos[i]       = static_cast<llama_pos>(i);
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i]    = true;
    }
    batch.n_tokens = static_cast<int32_t>(tokens.size());
    EXPECT_EQ(llama_decode(ctx, batch), 0);
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (size_t i = 0; i < tokens.size(); i++) {
        const float * logits = llama_get_logits_ith(ctx, static_cast<int32_t>(i));
        result.greedy.push_back(static_cast<int>(std::max_element(logits, logits + n_vocab) - logits));
    }
    llama_batch_free(batch);
    llama_free(ctx);
    llama_model_free(model);
    result.layers = std::move(watch.layers);
    return result;
}

void expect_close(const doubles & got, const doubles & want, double tolerance, const std::string & where) {
    ASSERT_EQ(got.size(), want.size()) << where;
    for (size_t i = 0; i < want.size(); i++) {
        EXPECT_NEAR(got[i], want[i], tolerance * std::fabs(want[i])) << where << ", rank " << i;
    }
}

class planted : public testing::TestWithParam<planted_options> {};

std::string test_name(const testing::TestParamInfo<planted_options> & info) {
    std::string name =
        info.param.arch + "_" + std::to_string(info.param.n_expert) + "x" + std::to_string(info.param.n_expert_used);
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

TEST_P(planted, closed_form_is_what_the_file_says_and_what_llama_computes) {
    const planted_options & o = GetParam();
    const planted_truth     truth(o);
    const scratch_folder    scratch;
    const std::string       file = scratch / "model.gguf";
    write_planted_model(file, truth);

    const reference ref(file, o.arch);
    EXPECT_TRUE(ref.attention_is_silent(static_cast<int>(o.n_layer)));
    for (int token : {0, int('A'), int('b'), 259}) {
        const std::vector<routed> layers =
            ref.run(token, static_cast<int>(o.n_layer), static_cast<int>(o.n_expert_used));
        for (uint32_t il = 0; il < o.n_layer; il++) {
            const std::string where = "reference, layer " + std::to_string(il) + ", token " + std::to_string(token);
            EXPECT_EQ(layers[il].ids, truth.ids(il, token)) << where;
            expect_close(truth.weights(il, token), layers[il].weights, 1e-9, where);
            expect_close(truth.norms(il, token), layers[il].norms, 1e-7, where);
        }
    }

    std::vector<llama_token> tokens(o.n_vocab);  // every token once, in an order that is not that of their ids
    for (uint32_t i = 0; i < o.n_vocab; i++) {
        tokens[i] = static_cast<llama_token>((i * 67 + 5) % o.n_vocab);
    }
    const llama_run run = decode(file, tokens, 48);
    ASSERT_EQ(run.layers.size(), o.n_layer);
    for (uint32_t il = 0; il < o.n_layer; il++) {
        const std::vector<routed> & rows = run.layers.at(static_cast<int>(il));
        ASSERT_EQ(rows.size(), tokens.size());
        for (size_t i = 0; i < tokens.size(); i++) {
            const std::string where = "llama.cpp, layer " + std::to_string(il) + ", token " + std::to_string(tokens[i]);
            ASSERT_EQ(rows[i].ids, truth.ids(il, tokens[i])) << where;
            expect_close(rows[i].weights, truth.weights(il, tokens[i]), 1e-5, where);
            expect_close(rows[i].norms, truth.norms(il, tokens[i]), 1e-5, where);
        }
    }
    for (size_t i = 0; i < tokens.size(); i++) {
        EXPECT_EQ(run.greedy[i], truth.successor(tokens[i])) << "after token " << tokens[i];
    }
}

planted_options options(const std::string & arch, uint32_t n_expert, uint32_t k) {
    planted_options o;
    o.arch          = arch;
    o.n_expert      = n_expert;
    o.n_expert_used = k;
    return o;
}

INSTANTIATE_TEST_SUITE_P(families, planted,
                         testing::Values(options("qwen3moe", 8, 3), options("qwen3moe", 32, 4),
                                         options("qwen3moe", 128, 4), options("llama", 8, 2), options("olmoe", 16, 4),
                                         options("gpt-oss", 16, 4), options("minimax-m2", 32, 4),
                                         options("qwen3moe", 4, 4), options("minimax-m2", 8, 1)),
                         test_name);

// Pruning a file must give the closed form of the kept experts. Here the file is written from that form, and held
// against llama.cpp.
TEST(planted_truth, of_kept_experts_is_what_llama_computes) {
    for (const char * arch : {"qwen3moe", "gpt-oss"}) {
        const planted_truth  full(options(arch, 16, 2));
        const planted_truth  kept = full.keep({1, 2, 4, 7, 8, 11, 13, 14});
        const scratch_folder scratch;
        const std::string    file = scratch / "model.gguf";
        write_planted_model(file, kept);
        std::vector<llama_token> tokens(260);
        std::iota(tokens.begin(), tokens.end(), 0);
        const llama_run run    = decode(file, tokens, 64);
        int             n_same = 0;
        for (int il = 0; il < 3; il++) {
            for (size_t i = 0; i < tokens.size(); i++) {
                const std::string where =
                    std::string(arch) + ", layer " + std::to_string(il) + ", token " + std::to_string(i);
                const routed & r = run.layers.at(il)[i];
                ASSERT_EQ(r.ids, kept.ids(il, tokens[i])) << where;
                expect_close(r.weights, kept.weights(il, tokens[i]), 1e-5, where);
                expect_close(r.norms, kept.norms(il, tokens[i]), 1e-5, where);
                n_same += kept.ids(il, tokens[i]) == full.ids(il, tokens[i]);
            }
        }
        EXPECT_LT(n_same, 100);  // of 780: the numbers, and most selections, are others
    }
}

TEST(planted_truth, keeps_nothing_that_cannot_route) {
    const planted_truth truth(options("qwen3moe", 8, 3));
    EXPECT_THROW(truth.keep({0, 1}), moescope::error);
    EXPECT_THROW(truth.ids(3, 0), moescope::error);
    EXPECT_THROW(truth.ids(0, 260), moescope::error);
    EXPECT_THROW(planted_truth(options("mamba", 8, 3)), moescope::error);
    EXPECT_THROW(planted_truth(options("qwen3moe", 8, 9)), moescope::error);
}

TEST(planted_truth, tokens_differ_in_selection_and_weight) {
    const planted_truth             truth(options("qwen3moe", 32, 4));
    std::map<std::vector<int>, int> seen;
    for (int token = 0; token < 256; token++) {
        for (uint32_t il = 0; il < 3; il++) {
            seen[truth.ids(il, token)]++;
            const doubles w = truth.weights(il, token);
            EXPECT_NEAR(std::accumulate(w.begin(), w.end(), 0.0), 1.0, 1e-12);
            EXPECT_GT(w[0], 1.05 * w[1]);
        }
    }
    EXPECT_GT(seen.size(), 700u);  // of 768 ordered selections; 863,040 are possible
}

}  // namespace
