// The sums of `moescope profile` on random models of six architectures, against expert outputs recomputed in double
// precision from the weights in the file and the inputs that the router read. Knows nothing of probes or accumulators.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <unistd.h>

#include <gtest/gtest.h>

#include "ggml.h"
#include "gguf.h"
#include "llama.h"
#include "make-model/random_model.hpp"
#include "stats/moestats.hpp"
#include "support/scratch_folder.hpp"
#include "trace/reader.hpp"

namespace {

using namespace moescope;
namespace fs  = std::filesystem;
using doubles = std::vector<double>;

const char * const text = "The quick brown fox jumps over the lazy dog; 3 * 14 = 42.";

// What an expert computes between its up and down matrices.
enum class activation { silu_gated, swiglu_oai, relu_squared };

struct family {
    const char * arch;
    activation   act;
    bool         gate_on_input;  // Llama 4
};

constexpr family families[] = {
    {"qwen3moe", activation::silu_gated, false},  {"gpt-oss", activation::swiglu_oai, false},
    {"deepseek2", activation::silu_gated, false}, {"llama4", activation::silu_gated, true},
    {"grovemoe", activation::silu_gated, false},  {"nemotron_h_moe", activation::relu_squared, false},
};

class weights_file {
public:
    explicit weights_file(const std::string & path) { gguf_.reset(gguf_init_from_file(path.c_str(), {false, &ctx_})); }
    ~weights_file() { ggml_free(ctx_); }

    const ggml_tensor * find(int il, const std::string & name) const {
        return ggml_get_tensor(ctx_, ("blk." + std::to_string(il) + "." + name).c_str());
    }
    // y_j = sum_i W[i, j, e] x_i (+ bias[j, e])
    doubles apply(int il, const std::string & name, uint32_t e, const doubles & x) const {
        const ggml_tensor * w = find(il, name + ".weight");
        const ggml_tensor * b = find(il, name + ".bias");
        EXPECT_EQ(w->type, GGML_TYPE_F32);
        EXPECT_EQ(size_t(w->ne[0]), x.size());
        const auto * data = static_cast<const float *>(w->data) + size_t(e) * size_t(w->ne[0] * w->ne[1]);
        doubles      y(size_t(w->ne[1]));
        for (size_t j = 0; j < y.size(); ++j) {
            y[j] = b == nullptr ? 0.0 : static_cast<const float *>(b->data)[size_t(e) * y.size() + j];
            for (size_t i = 0; i < x.size(); ++i) {
                y[j] += double(data[j * x.size() + i]) * x[i];
            }
        }
        return y;
    }

private:
    struct closer {
        void operator()(gguf_context * g) const { gguf_free(g); }
    };
    ggml_context *                        ctx_ = nullptr;
    std::unique_ptr<gguf_context, closer> gguf_;
};

double activate(activation a, double gate, double up) {
    switch (a) {
        case activation::silu_gated: return gate / (1 + std::exp(-gate)) * up;
        case activation::swiglu_oai:
            gate = std::min(gate, 7.0);
            return gate / (1 + std::exp(-1.702 * gate)) * (1 + std::max(-7.0, std::min(up, 7.0)));
        default: return up > 0 ? up * up : 0;
    }
}

double expert_norm(const weights_file & w, const family & f, int il, uint32_t e, doubles x) {
    if (w.find(il, "ffn_latent_down.weight") != nullptr) {  // Nemotron-H projects what the experts read
        x = w.apply(il, "ffn_latent_down", 0, x);
    }
    const doubles up   = w.apply(il, "ffn_up_exps", e, x);
    const doubles gate = f.act == activation::relu_squared ? up : w.apply(il, "ffn_gate_exps", e, x);
    doubles       h(up.size());
    for (size_t i = 0; i < h.size(); ++i) {
        h[i] = activate(f.act, gate[i], up[i]);
    }
    double squares = 0;
    for (const double y : w.apply(il, "ffn_down_exps", e, h)) {
        squares += y * y;
    }
    return std::sqrt(squares);
}

struct sums {
    std::vector<uint64_t> count;
    doubles               gated, norm;
};

// Of the first MoE layer, from the trace's rows.
sums recompute(const fs::path & trace_path, const weights_file & w, const family & f, int32_t il) {
    trace::trace_reader reader(trace_path.string());
    sums                s;
    for (routed_ubatch u; reader.next(u);) {
        for (const block_rows & rows : u.blocks) {
            const block_layout & l = *rows.layout;
            if (l.layer != il || l.block != 0) {
                continue;
            }
            s.count.resize(l.n_expert);
            s.gated.resize(l.n_expert);
            s.norm.resize(l.n_expert);
            const float * input = rows.values_of(column::gate_input);
            const float * gates = rows.values_of(column::weights);
            for (size_t i = 0; i < size_t(rows.n_rows) * l.n_expert_used; ++i) {
                const size_t   row = i / l.n_expert_used;
                const uint32_t e   = rows.id(i);
                const double   g   = gates[i];
                doubles        x(input + row * l.n_embd, input + (row + 1) * l.n_embd);
                for (double & v : x) {
                    v *= f.gate_on_input ? g : 1.0;
                }
                const double norm = expert_norm(w, f, il, e, x);
                s.count[e] += 1;
                s.norm[e] += norm;
                s.gated[e] += f.gate_on_input ? norm : g * norm;
            }
        }
    }
    return s;
}

class reference_test : public ::testing::TestWithParam<family> {
protected:
    std::string at(const std::string & name) const { return scratch_ / name; }
    void        call(const std::string & verb_and_options) const {
               const std::string line =
                   std::string(std::getenv("MOESCOPE_BIN")) + " " + verb_and_options + " -q -t 1 -m " + at("model.gguf");
               ASSERT_EQ(std::system(line.c_str()), 0) << line;
    }
    test::scratch_folder scratch_;
};

TEST_P(reference_test, sums_equal_recomputed_expert_outputs) {
    const family &             f = GetParam();
    make_model::random_options o;
    o.shape.arch = f.arch;
    make_model::write_random_model(at("model.gguf"), o);
    std::ofstream(at("corpus.jsonl")) << "{\"text\": \"" << text << "\"}\n";
    call("run -n 0 --capture ids,weights,norms,gate-input -o " + at("t.moetrace") + " -p '" + text + "'");
    call("profile --jsonl " + at("corpus.jsonl") + " -o " + at("p.json"));

    const stats::moestats         s    = stats::read_moestats(at("p.moestats"));
    const stats::saliency_block & b    = *s.routed().front();
    const sums                    want = recompute(at("t.moetrace"), weights_file(at("model.gguf")), f, b.layer);
    ASSERT_EQ(b.count, want.count);
    EXPECT_EQ(b.norms_gated(), f.gate_on_input);
    for (uint32_t e = 0; e < b.n_expert; ++e) {
        EXPECT_NEAR(b.norm[e], want.norm[e], 1e-5 * want.norm[e]) << "expert " << e;
        EXPECT_NEAR(b.gated_norm[e], want.gated[e], 1e-5 * want.gated[e]) << "expert " << e;
    }
}

INSTANTIATE_TEST_SUITE_P(Architectures, reference_test, ::testing::ValuesIn(families), [](const auto & of) {
    std::string name = of.param.arch;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

}  // namespace
