// The removal error that a profile adds up, for every expert of a small model of each router kind, against brute force: a
// second pass in which this test's own callback takes the expert out of the scores of one layer, and what the block then puts
// out. Nothing is shared with the capture, the masks or the accumulator.

#include "make-model/random_model.hpp"
#include "support/made_model.hpp"
#include "support/model_runner.hpp"

#include "stats/saliency.hpp"

#include <gtest/gtest.h>

using namespace moescope::make_model;
using namespace moescope::test;
using namespace moescope;

namespace {

constexpr int n_tokens = 40;

// Reads a layer's output and the residual stream behind it; takes an expert out of the layer's scores, where asked.
struct brute_force {
    int                layer = 0, expert = -1;
    std::vector<float> block_output, stream;  // [n_tokens][n_embd]

    static bool is(const ggml_tensor * t, const char * base, int layer) {
        return t->name == std::string(base) + "-" + std::to_string(layer);
    }
    static bool callback(ggml_tensor * t, bool ask, void * user) {
        auto & self = *static_cast<brute_force *>(user);
        // Two places: the logits, so that a softmax knows nothing of the expert, and the biased scores that top-k reads.
        const bool scores = is(t, "ffn_moe_logits", self.layer) || is(t, "ffn_moe_logits_biased", self.layer) ||
                            is(t, "ffn_moe_probs_biased", self.layer);
        const bool output = is(t, "ffn_moe_out", self.layer), stream = is(t, "l_out", self.layer);
        if (ask) {
            return scores || output || stream;
        }
        if (scores && self.expert >= 0) {
            for (int64_t r = 0; r < t->ne[1]; ++r) {
                *reinterpret_cast<float *>(static_cast<char *>(t->data) + size_t(r) * t->nb[1] +
                                           size_t(self.expert) * t->nb[0]) = -1e30f;
            }
        }
        if (output || stream) {
            std::vector<float> & to = output ? self.block_output : self.stream;
            const auto *         x  = static_cast<const float *>(t->data);
            to.assign(x, x + t->ne[0] * t->ne[1]);
        }
        return true;
    }
};

void decode_all(llama_model * model, llama_context_params params) {
    params.n_ctx = params.n_ubatch = params.n_batch = 64;
    params.n_threads = params.n_threads_batch = 1;
    const context_ptr ctx(llama_init_from_model(model, params));
    decode(ctx.get(), false, 0, n_tokens);
}

brute_force outputs_of(llama_model * model, int layer, int expert) {
    brute_force b;
    b.layer = layer, b.expert = expert;
    llama_context_params params = llama_context_default_params();
    params.cb_eval = brute_force::callback, params.cb_eval_user_data = &b;
    decode_all(model, params);
    return b;
}

std::vector<stats::saliency_block> profiled(const std::string & path, const model_shape & s) {
    llama_model_params      params       = llama_model_default_params();
    llama_model_kv_override overrides[2] = {};
    std::snprintf(overrides[0].key, sizeof(overrides[0].key), "%s.expert_used_count", s.arch.c_str());
    overrides[0].tag     = LLAMA_KV_OVERRIDE_TYPE_INT;
    overrides[0].val_i64 = s.n_expert_used + 1;
    params.kv_overrides = overrides, params.use_extra_bufts = false;
    const model_ptr model(llama_model_load_from_file(path.c_str(), params));
    stats::saliency sums(stats::gate_kind::final, 0, stats::missing_columns::refused, stats::sum_set::all);
    struct forward : routing_sink {
        explicit forward(routing_sink & s) : to(s) {}
        void           ubatch(const routed_ubatch & u) override { to.ubatch(u); }
        routing_sink & to;
    };
    const column_set what = column::ids | column::weights | column::weights_raw | column::norms | column::probs |
                            column::gram | column::peaks | column::runner_up;
    capture::session     session(capture::capture_options{what, {}, capture::mechanism::probes},
                                 [&](uint32_t) { return std::make_unique<forward>(sums); });
    llama_context_params c = llama_context_default_params();
    session.prepare(c);
    decode_all(model.get(), c);
    session.read_pending();
    if (!session.failure().empty()) {
        throw std::runtime_error(session.failure());
    }
    return sums.blocks();
}

// Σ over rows of ‖y − y′‖² / ‖h + y‖². scale: what the model multiplies y with.
double removal_of(const brute_force & with, const brute_force & without, size_t n_embd, double scale) {
    double sum = 0;
    for (size_t row = 0; row < n_tokens; ++row) {
        double change = 0, stream = 0;
        for (size_t i = row * n_embd; i < (row + 1) * n_embd; ++i) {
            const double d = scale * (double(with.block_output[i]) - double(without.block_output[i]));
            change += d * d;
            stream += double(with.stream[i]) * double(with.stream[i]);
        }
        sum += change / stream;
    }
    return sum;
}

struct kind {
    const char * name;
    model_shape  shape;
    double       scale = 1;  // of the block's output
};

model_shape shape_of(const char * arch, uint32_t gating = 0, float scale = 0, bool norm = false) {
    model_shape s;
    s.arch = arch, s.gating = gating, s.expert_weights_scale = scale, s.expert_weights_norm = norm;
    return s;
}

const kind kinds[] = {
    {"softmax_normalised", shape_of("qwen3moe")},
    {"softmax_as_it_is", shape_of("olmoe")},
    {"softmax_beside_a_shared_expert", shape_of("qwen2moe")},
    {"softmax_of_the_selected", shape_of("gpt-oss")},
    {"sigmoid_with_bias_scaled", shape_of("dots1", 2, 2.5f, true)},
    {"sigmoid_with_bias_as_it_is", shape_of("dots1", 2, 0, false)},
    {"sigmoid_without_shared", shape_of("minimax-m2", 2)},
    {"mixtral", shape_of("llama")},
};

class removal : public testing::TestWithParam<kind> {};

TEST_P(removal, equals_brute_force_for_every_expert) {
    const scratch_folder scratch;
    const std::string    file = scratch / "m.gguf";
    random_options       options;
    options.shape = GetParam().shape;
    write_random_model(file, options);
    const model_shape s = complete(options.shape);
    EXPECT_EQ(run_in_child([&](const send_fn &) {
                  const auto      blocks = profiled(file, s);
                  const model_ptr model  = load(file);
                  if (blocks.empty()) {
                      throw std::runtime_error("no blocks");
                  }
                  for (const stats::saliency_block & b : blocks) {
                      if (b.removal.size() != s.n_expert) {
                          throw std::runtime_error("no removal error");
                      }
                      const brute_force with  = outputs_of(model.get(), b.layer, -1);
                      const size_t      width = with.stream.size() / n_tokens;
                      double            total = 0;
                      for (uint32_t e = 0; e < s.n_expert; ++e) {
                          const double want = removal_of(with, outputs_of(model.get(), b.layer, static_cast<int>(e)),
                                                         width, GetParam().scale);
                          total += want;
                          if (std::abs(b.removal[e] - want) > 1e-4 * want + 1e-9) {
                              throw std::runtime_error("layer " + std::to_string(b.layer) + " expert " +
                                                       std::to_string(e) + ": " + std::to_string(b.removal[e]) +
                                                       " instead of " + std::to_string(want));
                          }
                      }
                      if (total <= 0) {
                          throw std::runtime_error("no expert matters: the test sees nothing");
                      }
                  }
              }).error,
              "");
}

INSTANTIATE_TEST_SUITE_P(kinds, removal, testing::ValuesIn(kinds),
                         [](const auto & param) { return std::string(param.param.name); });

}  // namespace
