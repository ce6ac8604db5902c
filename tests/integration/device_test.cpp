// Capture, masks and gram on a device that is not the CPU, whatever ggml finds. Run by tests/device, which brings one along
// (Vulkan on Mesa's software driver), each case in a process of its own; without a device everything is skipped.
//
// Prompts only: the software driver crashes after some generated tokens, without moescope too.

#include <cstdio>
#include <regex>

#include <gtest/gtest.h>

#include <ggml-backend.h>

#include "make-model/planted_model.hpp"
#include "make-model/random_model.hpp"
#include "make-model/variants.hpp"
#include "support/masked_run.hpp"
#include "support/model_case.hpp"
#include "support/routed_run.hpp"

using namespace moescope;
using namespace moescope::test;

namespace {

// LD_LIBRARY_PATH has served its purpose: programs that this one starts are of the build.
const bool libraries_are_loaded = ::unsetenv("LD_LIBRARY_PATH") == 0;

std::vector<model_case> all_cases() {
    std::vector<model_case> cases;
    const auto              add = [&](const std::string & name, random_options o) {
        o.shape.n_expert = std::max(o.shape.n_expert, 16U);
        cases.push_back({name, o});
    };
    for (model_case & c : case_of_each_architecture()) {
        c.options.shape.n_expert_used = 3;
        add(c.name, c.options);
    }
    for (const char * name : {"groups-deepseek2", "groups-bailingmoe2", "hash-deepseek4", "grovemoe-pairs"}) {
        add(name, find_variant(name).options);
    }
    return cases;
}

// What llama.cpp says about where the model's layers are.
std::string & offloading() {
    static std::string line;
    return line;
}

class device : public testing::TestWithParam<model_case> {
protected:
    void SetUp() override {
        if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) == nullptr &&
            ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU) == nullptr) {
            GTEST_SKIP() << "no device but the CPU";
        }
        llama_log_set(
            [](ggml_log_level, const char * text, void *) {
                if (std::strstr(text, "layers to GPU") != nullptr) {
                    offloading() = text;
                }
            },
            nullptr);
        write_random_model(file_, GetParam().options);
    }

    static batch_shape shape(column_set what, capture::mechanism by = capture::mechanism::probes) {
        batch_shape s;
        s.on_device = true;
        s.n_decoded = 0;
        s.what      = what;
        s.by        = by;
        return s;
    }
    static batch_shape on_cpu(batch_shape s) {
        s.on_device = false;
        return s;
    }

    const std::string & arch() const { return GetParam().options.shape.arch; }
    recording           captured(const batch_shape & s) const { return run_masked(file_, arch(), {}, s).rec; }

    std::vector<int32_t> chunks_of(std::vector<int32_t> ids) const {
        const auto per_chunk = static_cast<int32_t>(complete(GetParam().options.shape).n_experts_per_group);
        std::transform(ids.begin(), ids.end(), ids.begin(), [&](int32_t id) { return id / per_chunk; });
        return ids;
    }

    const scratch_folder folder_;
    const std::string    file_ = folder_ / "m.gguf";
};

std::string at(const row & r) {
    return "layer " + std::to_string(r.layer) + " block " + std::to_string(r.block) + " position " +
           std::to_string(r.pos);
}

// How far two columns are apart, relative to the larger of each row's values; -1 where neither row has it.
double distance(const row & a, const row & b, column c) {
    const auto x = a.values.find(c), y = b.values.find(c);
    if (x == a.values.end() || y == b.values.end() || x->second.size() != y->second.size()) {
        return -1;
    }
    double far = 0, largest = 0;
    for (size_t i = 0; i < x->second.size(); ++i) {
        far     = std::max(far, std::abs(double(x->second[i]) - double(y->second[i])));
        largest = std::max(largest, std::abs(double(y->second[i])));
    }
    return largest > 0 ? far / largest : far;
}

bool same_row(const row & a, const row & b) {
    return a.token == b.token && a.pos == b.pos && a.seq == b.seq && a.layer == b.layer && a.block == b.block;
}

// An eval callback of the test's own, which shares no code with the capture: ids by strides, norms of gated outputs.
struct witness {
    std::vector<std::vector<int32_t>> ids;    // by row, in the order of computation
    std::vector<std::vector<double>>  norms;  // of what is gated already

    static bool is(const ggml_tensor * t, const char * base) { return observer::tail(t->name, base) != nullptr; }

    static std::vector<char> bytes(const ggml_tensor * t) {
        std::vector<char> all(ggml_nbytes(t));
        ggml_backend_tensor_get(t, all.data(), 0, all.size());
        return all;
    }
    static bool callback(ggml_tensor * t, bool ask, void * self) {
        const bool topk = is(t, "ffn_moe_topk"), weighted = is(t, "ffn_moe_weighted");
        if (ask || (!topk && !weighted)) {
            return topk || weighted;
        }
        auto &                  w   = *static_cast<witness *>(self);
        const std::vector<char> all = bytes(t);
        const int64_t           n   = topk ? t->ne[1] : t->ne[2];
        for (int64_t r = 0; r < n; ++r) {
            topk ? w.add_ids(*t, all, r) : w.add_norms(*t, all, r);
        }
        return true;
    }
    void add_ids(const ggml_tensor & t, const std::vector<char> & all, int64_t r) {
        ids.emplace_back(size_t(t.ne[0]));
        for (int64_t i = 0; i < t.ne[0]; ++i) {
            std::memcpy(&ids.back()[size_t(i)], all.data() + size_t(r) * t.nb[1] + size_t(i) * t.nb[0],
                        sizeof(int32_t));
        }
    }
    void add_norms(const ggml_tensor & t, const std::vector<char> & all, int64_t r) {
        norms.emplace_back();
        for (int64_t k = 0; k < t.ne[1]; ++k) {
            double sum = 0;
            for (int64_t i = 0; i < t.ne[0]; ++i) {
                float v;
                std::memcpy(&v, all.data() + size_t(r) * t.nb[2] + size_t(k) * t.nb[1] + size_t(i) * t.nb[0], sizeof v);
                sum += double(v) * double(v);
            }
            norms.back().push_back(std::sqrt(sum));
        }
    }
};

witness watched(const std::string & file, const std::string & arch, const batch_shape & s) {
    witness              w;
    outcome              ignored;
    const model_ptr      model  = load_on(file, s);
    llama_context_params params = params_for(arch, s);
    params.cb_eval = witness::callback, params.cb_eval_user_data = &w;
    const context_ptr ctx(llama_init_from_model(model.get(), params));
    decode_sequences(ctx.get(), arch, s, 0, s.n_prompt, ignored);
    return w;
}

constexpr column_set by_default = column_set(column::ids) | column::weights | column::norms;

// How far products of gates and norms are from what the witness saw, relative to that.
double gated_distance(const row & r, const std::vector<double> & seen) {
    double far = 0;
    for (size_t k = 0; k < r.ids.size(); ++k) {
        const double gated = std::abs(r.values.at(column::weights)[k]) * r.values.at(column::norms)[k];
        far                = std::max(far, std::abs(gated - seen.at(k)) / (seen[k] + 1e-9));
    }
    return far;
}

// How near weights and norms of two ways to read them must be. Where nothing is fused (tests/device switches it off) both read what
// the same kernels computed. Where gates come from a fused operation, their last bit differs: no more in the first layer that
// routes. Attention of this backend rounds keys and values to F16, even those of an F32 cache, which turns a last bit into up to
// 1e-3 in the layers behind.
struct nearness {
    double weights = 3e-6, norms = 1e-5, gated = 1e-4;
};
nearness nearness_of(const row & r, const row & first) {
    const bool fused = std::getenv("GGML_VK_DISABLE_FUSION") == nullptr;
    return fused && r.layer > first.layer ? nearness{1e-3, 1e-3, 2e-3} : nearness{};
}

// Probes that leave the device its fused operations, the eval callback, and the witness. Not the eval callback where a layer has
// two blocks (GroveMoE): it goes by the order of nodes, which this backend changes.
TEST_P(device, ids_are_those_that_were_computed) {
    const recording probed = captured(shape(by_default));
    EXPECT_TRUE(std::regex_search(offloading(), std::regex("offloaded (\\d+)/\\1 layers"))) << offloading();
    const recording called = captured(shape(by_default, capture::mechanism::eval_callback));
    const witness   seen   = watched(file_, arch(), shape(by_default));
    const auto      x = probed.rows(), y = called.rows();
    ASSERT_EQ(x.size(), y.size());
    ASSERT_EQ(x.size(), seen.ids.size());
    ASSERT_GT(x.size(), 0U);
    const bool two_blocks = std::any_of(x.begin(), x.end(), [](const row & r) { return r.block > 0; });
    double     weights = 0, norms = 0, gated = 0;
    size_t     n_norms = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const bool chunks = x[i].layout.has(block_layout::ids_repeat);
        ASSERT_TRUE(same_row(x[i], y[i])) << at(x[i]);
        ASSERT_EQ(x[i].token, x[i].pos * 37 % 256) << at(x[i]);
        ASSERT_EQ(std::vector<int32_t>(x[i].ids.begin(), x[i].ids.end()), chunks ? chunks_of(seen.ids[i]) : seen.ids[i])
            << at(x[i]);
        const nearness asked = nearness_of(x[i], x[0]);
        if (!two_blocks) {
            ASSERT_EQ(x[i].ids, y[i].ids) << at(x[i]);
            const double w = distance(x[i], y[i], column::weights), n = distance(x[i], y[i], column::norms);
            EXPECT_LE(w, asked.weights) << at(x[i]);
            EXPECT_LE(n, asked.norms) << at(x[i]);
            weights = std::max(weights, w), norms = std::max(norms, n);
        }
        if (seen.norms.size() == x.size() && !x[i].layout.has(block_layout::norms_gated)) {
            const double g = gated_distance(x[i], seen.norms[i]);
            EXPECT_LE(g, asked.gated) << at(x[i]);
            gated = std::max(gated, g);
            n_norms += 1;
        }
    }
    if (two_blocks) {
        EXPECT_EQ(n_norms, x.size());
        std::printf("figures: %zu rows, ids equal the witness's, gated norms within %.0e\n", x.size(), gated);
        return;
    }
    std::printf("figures: %zu rows, ids equal, weights within %.0e, norms within %.0e\n", x.size(), weights, norms);
}

// Of the layers that route: ERNIE's graphs leave out every second one, whatever tensors the file has.
kept_by_layer of_layers_in(const recording & rec, const kept_by_layer & kept) {
    kept_by_layer some;
    for (const row & r : rec.rows()) {
        some[r.layer] = kept.at(r.layer);
    }
    return some;
}

TEST_P(device, a_mask_does_what_the_pruned_file_does) {
    const std::string   pruned   = folder_ / "pruned.gguf";
    const batch_shape   s        = shape(column_set::all());
    const recording     unmasked = captured(s);
    const kept_by_layer kept     = of_layers_in(unmasked, write_pruned_half(file_, pruned));
    const expert_mask   mask     = mask_for(kept, complete(GetParam().options.shape).n_expert);
    const size_t        n        = rows_with_omitted(unmasked, mask);
    EXPECT_GT(n, 0U);
    exactness how;
    how.tolerance    = 1e-3;
    const double far = compare_runs(run_masked(file_, arch(), mask, s), run_masked(pruned, arch(), {}, s), kept, how);
    std::printf("figures: %zu rows change, outputs within %.0e\n", n, far);
}

// Where kernels round otherwise, a row may select another expert than on the CPU. What later layers compute for its token, and
// for those that see it, is then another thing.
bool is_behind(const row & r, const row & differs, bool causal) {
    return r.layer > differs.layer && (!causal || r.pos >= differs.pos);
}

// How far dot products are apart, relative to the lengths of their two vectors.
double gram_distance(const row & a, const row & b) {
    const std::vector<float> &g = a.values.at(column::gram), &h = b.values.at(column::gram);
    const size_t              m   = a.layout.n_gram();
    double                    far = 0;
    for (size_t i = 0; i < m * m; ++i) {
        const double lengths = std::sqrt(double(h[i / m * (m + 1)]) * double(h[i % m * (m + 1)]));
        far                  = std::max(far, std::abs(double(g[i]) - double(h[i])) / lengths);
    }
    return far;
}

// The lengths of the experts' outputs are the norms of the same run, but for a factor that the model has for the block.
double length_distance(const row & r) {
    const std::vector<float> &g = r.values.at(column::gram), &norms = r.values.at(column::norms);
    const size_t              m   = r.layout.n_gram();
    double                    far = 0;
    for (size_t k = 0; k < norms.size(); ++k) {
        const double factor = std::sqrt(double(g[k * (m + 1)])) / double(norms[k]);
        far                 = std::max(far, std::abs(factor / (std::sqrt(double(g[0])) / double(norms[0])) - 1));
    }
    return far;
}

struct gram_figures {
    size_t n_rows = 0, n_others = 0;  // compared; that select something else
    double far = 0, lengths = 0;
};

gram_figures compare_gram(const std::vector<row> & x, const std::vector<row> & y, bool causal) {
    std::vector<row> others;
    for (size_t i = 0; i < x.size(); ++i) {
        if (x[i].ids != y.at(i).ids) {
            others.push_back(x[i]);
        }
    }
    gram_figures f;
    f.n_others = others.size();
    for (size_t i = 0; i < x.size(); ++i) {
        const bool comparable = x[i].ids == y[i].ids && std::none_of(others.begin(), others.end(), [&](const row & o) {
                                    return is_behind(x[i], o, causal);
                                });
        if (comparable && x[i].values.count(column::gram) != 0 && y[i].values.count(column::gram) != 0) {
            f.far     = std::max(f.far, gram_distance(x[i], y[i]));
            f.lengths = std::max(f.lengths, length_distance(x[i]));
            f.n_rows += 1;
        }
    }
    return f;
}

// Dot products against the same on the CPU, which removal_brute_force_test holds to brute force. What goes into them differs
// already: attention of the device rounds keys and values to F16. What the CPU computes with a cache in F16 says how much that is.
TEST_P(device, gram_is_that_of_the_cpu) {
    batch_shape s = shape(by_default | column::gram);
    const auto  x = captured(s).rows(), y = captured(on_cpu(s)).rows();
    s.cache         = GGML_TYPE_F16;
    const auto half = captured(on_cpu(s)).rows();
    ASSERT_EQ(x.size(), y.size());
    const bool         causal = traits_of(arch()).causal;
    const gram_figures f = compare_gram(x, y, causal), of_half = compare_gram(half, y, causal);
    for (size_t i = 0; i < x.size(); ++i) {
        ASSERT_EQ(x[i].values.count(column::gram), y[i].values.count(column::gram)) << at(x[i]);
    }
    EXPECT_LE(double(f.n_others), 0.1 * double(x.size()));
    EXPECT_LE(f.lengths, 1e-5);
    EXPECT_LE(f.far, std::max(1e-3, 2 * of_half.far));
    std::printf(
        "figures: gram of %zu rows within %.0e (F16 on the CPU: %.0e), lengths within %.0e; %zu of %zu rows select the same\n",
        f.n_rows, f.far, of_half.far, f.lengths, x.size() - f.n_others, x.size());
}

// The closed form, and rows of a last layer that computes one token alone.
TEST(device_planted, rows_are_those_of_the_closed_form) {
    if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) == nullptr) {
        GTEST_SKIP() << "no device but the CPU";
    }
    const scratch_folder            folder;
    const make_model::planted_truth truth(make_model::planted_options{});
    make_model::write_planted_model(folder / "m.gguf", truth);
    std::vector<batch_token> tokens;
    for (int i = 0; i < 40; ++i) {
        tokens.push_back({i * 37 % 250, i, 0, i == 39});
    }
    const auto streams = capture_streams({}, [&](capture::session & session) {
        model_runner runner(folder / "m.gguf");
        runner.open();
        runner.decode(tokens);
        session.read_pending();
    });
    ASSERT_EQ(streams.size(), 1U);
    size_t n_last = 0, n = 0;
    for (const row & r : streams[0].rows()) {
        ASSERT_GE(r.token, 0);
        EXPECT_EQ(std::vector<int>(r.ids.begin(), r.ids.end()), truth.ids(uint32_t(r.layer), r.token)) << at(r);
        n += 1;
        n_last += r.pos == 39 ? 1 : 0;
    }
    const auto n_layer = make_model::planted_options{}.n_layer;
    EXPECT_EQ(n, size_t(n_layer - 1) * 40 + 1);
    EXPECT_EQ(n_last, size_t(n_layer));
    std::printf("figures: %zu rows, ids of the closed form\n", n);
}

// How often the backend's own log has the fused operation, which stands for softmax, top-k and their gates.
size_t fused_in(const std::string & log) {
    size_t n = 0;
    for (size_t at = log.find("TOPK_MOE"); at != std::string::npos; at = log.find("TOPK_MOE", at + 1)) {
        n += 1;
    }
    return n;
}

// Run by tests/device with GGML_VK_PERF_LOGGER.
TEST(device_fusing, top_k_is_as_fused_as_without_the_recorder) {
    if (std::getenv("GGML_VK_PERF_LOGGER") == nullptr) {
        GTEST_SKIP() << "the backend does not say what it fuses";
    }
    const scratch_folder folder;
    const std::string    file = folder / "m.gguf";
    random_options       o;
    o.shape.arch = "qwen3moe";
    write_random_model(file, o);
    batch_shape s;
    s.on_device = true, s.n_decoded = 0, s.what = by_default;
    const auto log_of = [&](const auto & work) {
        testing::internal::CaptureStderr();
        work();
        return fused_in(testing::internal::GetCapturedStderr());
    };
    const size_t bare     = log_of([&] {
        outcome           ignored;
        const model_ptr   model = load_on(file, s);
        const context_ptr ctx(llama_init_from_model(model.get(), params_for(o.shape.arch, s)));
        decode_sequences(ctx.get(), o.shape.arch, s, 0, s.n_prompt, ignored);
    });
    const size_t recorded = log_of([&] { run_masked(file, o.shape.arch, {}, s); });
    s.by                  = capture::mechanism::eval_callback;
    const size_t called   = log_of([&] { run_masked(file, o.shape.arch, {}, s); });
    EXPECT_GT(bare, 0U);
    EXPECT_EQ(recorded, bare);
    EXPECT_EQ(called, 0U);  // which asks for what lies inside: this test can fail
    std::printf("figures: in the log of %zu graphs, %zu under the recorder, %zu under an eval callback\n", bare,
                recorded, called);
}

INSTANTIATE_TEST_SUITE_P(models, device, testing::ValuesIn(all_cases()), case_name);

}  // namespace
