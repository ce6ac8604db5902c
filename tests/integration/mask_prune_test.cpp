// A mask does what pruning does: on every MoE architecture of llama.cpp and on variants of some, a model under a mask that
// omits experts selects the same experts as the file without them, with the same gates and outputs. The pruned file
// judges the mask, and the mask judges `prune`. Models run in child processes, so that an assertion in llama.cpp names
// the architecture.

#include "make-model/lora.hpp"
#include "make-model/variants.hpp"
#include "support/masked_run.hpp"
#include "support/model_case.hpp"
#include "support/process.hpp"

#include <gtest/gtest.h>

using namespace moescope;
using namespace moescope::test;

namespace {

model_case of_arch(const std::string & arch) {
    model_case c;
    c.name                        = arch;
    c.options.shape.arch          = arch;
    c.options.shape.n_expert      = 16;
    c.options.shape.n_expert_used = 3;
    return c;
}

std::vector<model_case> all_cases() {
    std::vector<model_case> cases;
    for (const model_case & c : case_of_each_architecture()) {
        cases.push_back(of_arch(c.name));
    }
    for (const variant & v : variants()) {
        if (v.options.shape.n_expert > v.options.shape.n_expert_used) {
            model_case c{"variant-" + v.name, v.options, false};
            c.options.shape.n_expert = std::max(c.options.shape.n_expert, 16U);
            cases.push_back(c);
        }
    }
    return cases;
}

struct models {
    scratch_folder    folder;
    const std::string whole = folder / "whole.gguf", pruned = folder / "pruned.gguf", adapter = folder / "adapter.gguf";
    kept_by_layer     kept;
    model_shape       shape;
    exactness         how;

    explicit models(const model_case & c) : shape(complete(c.options.shape)) {
        write_random_model(whole, c.options);
        kept         = write_pruned_half(whole, pruned);
        how.in_steps = ggml_is_quantized(c.options.type) || shape.arch == "gemma4" || shape.arch == "grok";
    }

    // Of all layers that graphs compute: ERNIE's leave out every second one, whatever tensors the file has.
    expert_mask mask() const {
        std::set<int> computed;
        for (const row & r : run_masked(whole, shape.arch, {}, {}).rec.rows()) {
            computed.insert(r.layer);
        }
        kept_by_layer of_graphs;
        for (const auto & [il, ids] : kept) {
            if (computed.count(il) != 0 || il >= static_cast<int>(shape.n_layer)) {
                of_graphs[il] = ids;
            }
        }
        return mask_for(of_graphs, shape.n_expert);
    }

    double check(const batch_shape & s) const {
        return compare_runs(run_masked(whole, shape.arch, mask(), s), run_masked(pruned, shape.arch, {}, s), kept, how);
    }
};

class mask_of : public testing::TestWithParam<model_case> {};

TEST_P(mask_of, computes_what_the_pruned_file_computes) {
    const models m(GetParam());
    const auto   result = run_in_child([&](const send_fn & send) {
        batch_shape  s;
        const size_t n_changed = rows_with_omitted(run_masked(m.whole, m.shape.arch, {}, s).rec, m.mask());
        if (n_changed == 0) {
            throw std::runtime_error("no token uses an omitted expert: this test cannot fail");
        }
        double far = m.check(s);
        s.by       = capture::mechanism::eval_callback;
        far        = std::max(far, m.check(s));
        if (m.shape.n_layer_nextn > 0) {
            s.type = LLAMA_CONTEXT_TYPE_MTP;
            far    = std::max(far, m.check(s));
        }
        char text[64];
        std::snprintf(text, sizeof text, "%zu rows change, outputs within %.1e", n_changed, far);
        send(text);
    });
    EXPECT_EQ(result.error, "");
    std::printf("  %-28s %s\n", GetParam().name.c_str(), result.output.c_str());
}

INSTANTIATE_TEST_SUITE_P(models, mask_of, testing::ValuesIn(all_cases()), case_name);

TEST(mask_of_all, covers_at_least_49_architectures) {
    size_t n = 0;
    for (const model_case & c : all_cases()) {
        n += is_variant(c) ? 0 : 1;
    }
    EXPECT_GE(n, 49U);
}

// One of each kind of router: softmax, sigmoid with a bias, softmax of the selected, groups, a table, gated inputs, chunks.
std::vector<model_case> one_of_each_kind() {
    std::vector<model_case> cases;
    for (const char * arch : {"qwen3moe", "glm4moe", "gpt-oss", "llama4", "ernie4_5-moe"}) {
        cases.push_back(of_arch(arch));
    }
    for (const char * name : {"groups-deepseek2", "groups-bailingmoe2", "hash-deepseek4", "grovemoe-pairs"}) {
        model_case c{std::string("variant-") + name, find_variant(name).options, false};
        c.options.shape.n_expert = 16;
        cases.push_back(c);
    }
    return cases;
}

class mask_of_kind : public testing::TestWithParam<model_case> {};

TEST_P(mask_of_kind, holds_for_any_ubatch) {
    const models m(GetParam());
    for (const uint32_t n_ubatch : {1U, 16U, 512U}) {
        EXPECT_EQ(run_in_child([&](const send_fn &) {
                      batch_shape s;
                      s.n_ubatch = n_ubatch;
                      s.n_prompt = n_ubatch == 1 ? 8 : n_ubatch == 16 ? 48 : 300;  // graphs are reused but the last
                      m.check(s);
                  }).error,
                  "")
            << n_ubatch;
    }
}

TEST_P(mask_of_kind, holds_for_several_sequences) {
    const models m(GetParam());
    EXPECT_EQ(run_in_child([&](const send_fn &) {
                  batch_shape s;
                  s.n_seq    = 4;
                  s.n_ubatch = 32;
                  m.check(s);
              }).error,
              "");
}

// A context's own mask: nothing, then another mask, then this one, over the same graphs; and a context beside it without.
TEST_P(mask_of_kind, holds_for_one_context_and_changes) {
    const models m(GetParam());
    EXPECT_EQ(run_in_child([&](const send_fn &) {
                  const expert_mask          mask = m.mask();
                  const batch_shape          s;
                  const llama_context_params params = params_for(m.shape.arch, s);
                  const outcome              want   = run_masked(m.pruned, m.shape.arch, {}, s),
                                whole               = run_masked(m.whole, m.shape.arch, {}, s);
                  capture::session  session({});
                  const model_ptr   model = load_on(m.whole, s);
                  const context_ptr masked(llama_init_from_model(model.get(), params)),
                      plain(llama_init_from_model(model.get(), params));
                  const auto computed = [&](llama_context * ctx) {
                      outcome result;
                      llama_memory_clear(llama_get_memory(ctx), true);
                      decode_sequences(ctx, m.shape.arch, s, 0, s.n_prompt, result);
                      for (int i = 0; i < s.n_decoded; ++i) {
                          decode_sequences(ctx, m.shape.arch, s, s.n_prompt + i, 1, result);
                      }
                      return result.outputs;
                  };
                  session.set_mask(masked.get(), {});
                  compare_outputs(computed(masked.get()), whole.outputs, want.n_output, {});
                  expert_mask other;  // pushes the first layer away from what the mask keeps
                  for (const int32_t e : m.kept.begin()->second) {
                      other.add(m.kept.begin()->first, e, e, -4);
                  }
                  session.set_mask(masked.get(), other);
                  if (computed(masked.get()) == whole.outputs) {
                      throw std::runtime_error("the other mask changes nothing");
                  }
                  session.set_mask(masked.get(), mask);
                  compare_outputs(computed(masked.get()), want.outputs, want.n_output, m.how);
                  if (computed(plain.get()) != whole.outputs) {
                      throw std::runtime_error("the other context is not what it was");
                  }
                  session.set_mask(masked.get(), {});
                  compare_outputs(computed(masked.get()), whole.outputs, want.n_output, {});
                  if (!session.failure().empty()) {
                      throw std::runtime_error(session.failure());
                  }
              }).error,
              "");
}

INSTANTIATE_TEST_SUITE_P(models, mask_of_kind, testing::ValuesIn(one_of_each_kind()), case_name);

TEST(mask, holds_behind_a_lora_adapter) {
    model_case   c = of_arch("qwen3moe");
    const models m(c);
    write_lora(m.adapter, m.whole);
    EXPECT_EQ(run_in_child([&](const send_fn &) {
                  batch_shape       s;
                  const expert_mask mask = m.mask();
                  s.lora                 = m.adapter;
                  const outcome masked   = run_masked(m.whole, m.shape.arch, mask, s);
                  if (rows_with_omitted(masked.rec, mask) > 0) {
                      throw std::runtime_error("an omitted expert is selected");
                  }
                  s.lora.clear();
                  const outcome plain = run_masked(m.whole, m.shape.arch, mask, s);
                  if (plain.outputs == masked.outputs) {
                      throw std::runtime_error("the adapter does nothing");
                  }
              }).error,
              "");
}

}  // namespace
