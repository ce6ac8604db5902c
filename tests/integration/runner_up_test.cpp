// A model that is loaded with one expert more per token, whose gate the capture takes out again, computes what it computes
// otherwise: logits, ids, gates and norms bit for bit, on every architecture that prune takes. And what is captured of the
// runner-up is right: it is the next best score, and the dot products are those of the tensors that a witness reads.

#include "make-model/random_model.hpp"
#include "make-model/variants.hpp"
#include "support/made_model.hpp"
#include "support/model_case.hpp"
#include "support/model_runner.hpp"

#include "gguf/runner_up.hpp"

#include <gtest/gtest.h>

#include <functional>

using namespace moescope::make_model;
using namespace moescope::test;
using namespace moescope;
using moescope::test::capture_streams;
using moescope::test::recording;
using moescope::test::row;

namespace {

constexpr int n_prompt = 24, n_decoded = 3;

model_ptr load_with_k(const std::string & path, const model_shape & s, uint32_t k) {
    llama_model_params params            = llama_model_default_params();
    params.use_extra_bufts               = false;
    llama_model_kv_override overrides[2] = {};
    std::snprintf(overrides[0].key, sizeof(overrides[0].key), "%s.expert_used_count", s.arch.c_str());
    overrides[0].tag     = LLAMA_KV_OVERRIDE_TYPE_INT;
    overrides[0].val_i64 = k;
    params.kv_overrides  = overrides;
    model_ptr model(llama_model_load_from_file(path.c_str(), params));
    if (!model) {
        throw std::runtime_error("does not load with " + std::to_string(k) + " experts per token");
    }
    return model;
}

struct result {
    std::vector<float> outputs;  // logits or embeddings of all tokens
    recording          rows;
};

result run(const std::string & path, const model_shape & s, column_set what) {
    const bool      more  = what.has(column::runner_up);
    const model_ptr model = load_with_k(path, s, s.n_expert_used + (more ? 1 : 0));
    result          r;
    auto            streams =
        capture_streams(capture::capture_options{what, {}, capture::mechanism::probes}, [&](capture::session & c) {
            llama_context_params params = llama_context_default_params();
            params.n_ctx                = 256;
            params.n_ubatch             = traits_of(s.arch).causal ? 10 : 256;
            params.n_threads = params.n_threads_batch = 1;
            params.embeddings                         = !traits_of(s.arch).has_logits;
            params.pooling_type                       = LLAMA_POOLING_TYPE_NONE;
            c.prepare(params);
            const context_ptr ctx(llama_init_from_model(model.get(), params));
            const bool        embeds = params.embeddings;
            const auto        keep   = [&](int first, int n) {
                decode(ctx.get(), embeds, first, n);
                const int width =
                    embeds ? llama_model_n_embd(model.get()) : llama_vocab_n_tokens(llama_model_get_vocab(model.get()));
                for (int i = 0; i < n; ++i) {
                    const float * v =
                        embeds ? llama_get_embeddings_ith(ctx.get(), i) : llama_get_logits_ith(ctx.get(), i);
                    r.outputs.insert(r.outputs.end(), v, v + width);
                }
            };
            keep(0, n_prompt);
            for (int i = 0; i < n_decoded; ++i) {
                keep(n_prompt + i, 1);
            }
        });
    r.rows = std::move(streams.at(0));
    return r;
}

[[noreturn]] void fail(const row & r, const std::string & what) {
    throw std::runtime_error("layer " + std::to_string(r.layer) + " block " + std::to_string(r.block) + " position " +
                             std::to_string(r.pos) + ": " + what);
}

// The next best score, of those that were not selected.
void check_runner_up(const row & r) {
    const std::vector<float> & s    = r.values.at(column::selection);
    const auto                 next = static_cast<size_t>(r.values.at(column::runner_up)[0]);
    for (size_t e = 0; e < s.size(); ++e) {
        const bool selected = std::find(r.ids.begin(), r.ids.end(), e) != r.ids.end();
        if (selected ? e == next : s[e] > s[next]) {
            fail(r, "expert " + std::to_string(next) + " is not next in line");
        }
    }
}

// What can be told of the dot products from other columns: the outputs' norms, on the diagonal.
void check_gram(const row & r) {
    const std::vector<float> & gram  = r.values.at(column::gram);
    const std::vector<float> & norms = r.values.at(column::norms);
    const size_t               m     = r.layout.n_gram();
    const double               scale = std::sqrt(double(gram[0])) / norms[0];  // Granite scales the block's output
    for (size_t i = 0; i < norms.size(); ++i) {
        if (std::abs(std::sqrt(double(gram[i * m + i])) - scale * norms[i]) > 1e-5 * scale * norms[i]) {
            fail(r, "the diagonal is not made of norms");
        }
    }
    for (size_t i = 0; i < m; ++i) {
        for (size_t j = 0; j < m; ++j) {
            const double bound = std::sqrt(double(gram[i * m + i]) * gram[j * m + j]) * (1 + 1e-5);
            if (gram[i * m + j] != gram[j * m + i] || std::abs(gram[i * m + j]) > bound) {
                fail(r, "these are no dot products");
            }
        }
    }
}

// Returns whether the residual stream was found.
bool check_model(const std::string & path, const model_shape & s) {
    const column_set plain = column::ids | column::weights | column::weights_raw | column::norms;
    const result     want  = run(path, s, plain);
    const result     got   = run(path, s, plain | column::selection | column::gram | column::peaks | column::runner_up);
    if (want.outputs != got.outputs) {
        throw std::runtime_error("the model computes other outputs");
    }
    const auto a = want.rows.rows(), b = got.rows.rows();
    if (a.size() != b.size()) {
        throw std::runtime_error("other rows");
    }
    bool has_gram = true;
    for (size_t i = 0; i < a.size(); ++i) {
        if (a[i].ids != b[i].ids) {
            fail(a[i], "other experts");
        }
        for (const auto & [c, values] : a[i].values) {
            if (values != b[i].values.at(c)) {
                fail(a[i], "other " + to_string(c));
            }
        }
        if (b[i].values.count(column::runner_up) != 0) {
            check_runner_up(b[i]);
        }
        has_gram = has_gram && b[i].values.count(column::gram) != 0;
        if (b[i].values.count(column::gram) != 0) {
            check_gram(b[i]);
        }
    }
    return has_gram;
}

std::vector<model_case> all_cases() {
    std::vector<model_case> cases = case_of_each_architecture();
    for (const variant & v : variants()) {
        cases.push_back({"variant-" + v.name, v.options});
    }
    return cases;
}

class with_runner_up : public testing::TestWithParam<model_case> {};

TEST_P(with_runner_up, computes_what_it_does_without) {
    const model_case &   c = GetParam();
    const scratch_folder scratch;
    const std::string    file = scratch / "m.gguf";
    write_random_model(file, c.options);
    const model_shape shape    = complete(c.options.shape);
    const std::string obstacle = gguf::runner_up_obstacle(gguf::model_file(file));
    if (!obstacle.empty()) {
        GTEST_SKIP() << obstacle;
    }
    const auto child = run_in_child([&](const send_fn & send) { send(check_model(file, shape) ? "gram" : "none"); });
    EXPECT_EQ(child.error, "");
    std::printf("residual stream: %s %s\n", c.name.c_str(), child.output.c_str());
}

INSTANTIATE_TEST_SUITE_P(models, with_runner_up, testing::ValuesIn(all_cases()), case_name);

}  // namespace
