// Capture on every MoE architecture of llama.cpp, and on variants of some: prefill over several ubatches (so that graphs
// are reused) and decode. Probes and callback give the same rows (norms to 1e-6, all else bit for bit); ids, gates and norms equal what is computed
// here from other tensors of the graph, by code that shares nothing with the capture. Models run in child processes, so
// that an assertion in llama.cpp names the architecture.

#include "make-model/lora.hpp"
#include "make-model/random_model.hpp"
#include "make-model/variants.hpp"
#include "support/made_model.hpp"
#include "support/model_case.hpp"
#include "support/model_runner.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>

using namespace moescope::test;
using namespace moescope;
using moescope::test::capture_streams;
using moescope::test::recording;
using moescope::test::row;

namespace {

[[noreturn]] void fail(const row & r, const std::string & what) {
    throw std::runtime_error("layer " + std::to_string(r.layer) + " block " + std::to_string(r.block) + " position " +
                             std::to_string(r.pos) + ": " + what);
}

// ---- an independent look at the same graph --------------------------------------------------------------------------

// What an eval callback of the test's own sees: selected ids by strides and, wrongly, as if they were contiguous
// (trap 1), and the norms of the gated expert outputs, which are |gate| times the norm of the output.
struct witness {
    struct block {
        int                  il = -1;
        std::vector<int32_t> strided, contiguous;  // [n][k]
        std::vector<double>  gated_norms;          // [n][k]; of outputs, where the input is gated (Llama 4)
        bool                 done = false;
    };
    std::vector<block> blocks;

    static bool is(const ggml_tensor * t, const char * base) {
        const size_t n = std::strlen(base);
        if (std::strncmp(t->name, base, n) != 0 || t->name[n] != '-') {
            return false;
        }
        const std::string rest = t->name + n + 1;
        return !rest.empty() && std::all_of(rest.begin(), rest.end(), [](unsigned char c) { return std::isdigit(c); });
    }

    static std::vector<double> column_norms(const ggml_tensor * t) {
        std::vector<double> norms;
        for (int64_t i2 = 0; i2 < t->ne[2]; i2++) {
            for (int64_t i1 = 0; i1 < t->ne[1]; i1++) {
                double sum = 0;
                for (int64_t i0 = 0; i0 < t->ne[0]; i0++) {
                    float v;
                    std::memcpy(&v, static_cast<const char *>(t->data) + i2 * t->nb[2] + i1 * t->nb[1] + i0 * t->nb[0],
                                sizeof v);
                    sum += static_cast<double>(v) * v;
                }
                norms.push_back(std::sqrt(sum));
            }
        }
        return norms;
    }

    static bool callback(ggml_tensor * t, bool ask, void * self) {
        auto &     blocks = static_cast<witness *>(self)->blocks;
        const bool down   = is(t, "ffn_moe_down") || is(t, "ffn_moe_down_scaled") || is(t, "ffn_moe_down_biased");
        if (ask) {
            return is(t, "ffn_moe_topk") || is(t, "ffn_moe_weighted") || down;
        }
        if (is(t, "ffn_moe_topk")) {
            block b;
            b.il = std::atoi(std::strrchr(t->name, '-') + 1);
            for (int64_t i1 = 0; i1 < t->ne[1]; i1++) {
                for (int64_t i0 = 0; i0 < t->ne[0]; i0++) {
                    int32_t id;
                    std::memcpy(&id, static_cast<const char *>(t->data) + i1 * t->nb[1] + i0 * t->nb[0], sizeof id);
                    b.strided.push_back(id);
                    b.contiguous.push_back(static_cast<const int32_t *>(t->data)[i1 * t->ne[0] + i0]);
                }
            }
            blocks.push_back(std::move(b));
        } else if (!blocks.empty() && is(t, "ffn_moe_weighted")) {
            if (t->src[0]->op != GGML_OP_REPEAT) {
                blocks.back().gated_norms = column_norms(t);
                blocks.back().done        = true;
            }
        } else if (!blocks.empty() && down && !blocks.back().done) {
            blocks.back().gated_norms = column_norms(t);
        }
        return true;
    }
};

// ---- the checks -----------------------------------------------------------------------------------------------------

void check_ids(const row & r) {
    for (const uint32_t id : r.ids) {
        if (id >= r.layout.n_expert) {
            fail(r, "expert " + std::to_string(id) + " does not exist");
        }
    }
    if (!r.layout.has(block_layout::ids_repeat) &&
        std::set<uint32_t>(r.ids.begin(), r.ids.end()).size() != r.ids.size()) {
        fail(r, "an expert is selected twice");
    }
}

// ids are the top-k of what the selection read (trap 9).
void check_selection(const row & r) {
    const auto s = r.values.find(column::selection);
    if (s == r.values.end()) {
        if (!r.layout.has(block_layout::given_ids) && !r.layout.has(block_layout::ids_repeat)) {
            fail(r, "no selection scores");
        }
        return;
    }
    std::vector<float> left = s->second, chosen;
    for (const uint32_t id : r.ids) {
        chosen.push_back(left[id]);
        left[id] = -INFINITY;
    }
    if (!std::is_sorted(chosen.rbegin(), chosen.rend())) {
        fail(r, "selected experts are not in the order of their scores");
    }
    if (*std::max_element(left.begin(), left.end()) > chosen.back()) {
        fail(r, "an expert with a higher score was left out");
    }
}

using scores = std::vector<double>;

scores softmax(scores v) {
    const double top = *std::max_element(v.begin(), v.end());
    double       sum = 0;
    for (double & x : v) {
        sum += x = std::exp(x - top);
    }
    for (double & x : v) {
        x /= sum;
    }
    return v;
}

scores each(scores v, double (*f)(double)) {
    std::transform(v.begin(), v.end(), v.begin(), f);
    return v;
}

// The routers that exist, each in double precision from the logits: gates of the selected before the model's scale.
std::map<std::string, scores> possible_gates(const row & r) {
    const auto & logits = r.values.at(column::logits);
    const scores all(logits.begin(), logits.end());
    const auto   pick = [&](const scores & v) {
        scores picked;
        for (const uint32_t id : r.ids) {
            picked.push_back(v[id]);
        }
        return picked;
    };
    const auto normalised = [](scores v) {
        const double sum = std::accumulate(v.begin(), v.end(), 0.0);
        for (double & x : v) {
            x /= sum;
        }
        return v;
    };
    const scores soft    = pick(softmax(all));
    const scores sigmoid = pick(each(all, [](double x) { return 1 / (1 + std::exp(-x)); }));
    const scores root    = pick(each(all, [](double x) { return std::sqrt(std::log1p(std::exp(x))); }));
    return {{"softmax", soft},
            {"softmax, normalised", normalised(soft)},
            {"sigmoid", sigmoid},
            {"sigmoid, normalised", normalised(sigmoid)},
            {"sqrt-softplus, normalised", normalised(root)},
            {"sqrt-softplus", root},
            {"softmax of sigmoid", softmax(sigmoid)},
            {"softmax of the selected", softmax(pick(all))},
            {"logits", pick(all)}};
}

// Final gates are one of these times a constant of the layer: the same router and the same constant for all its rows.
void check_gates(const std::vector<row> & rows) {
    std::map<std::pair<int, int>, std::map<std::string, double>> fitting;  // by block: router -> constant
    for (const row & r : rows) {
        if (r.values.count(column::logits) == 0) {
            continue;
        }
        const auto & got     = r.values.at(column::weights);
        auto &       routers = fitting[{r.layer, r.block}];
        const bool   first   = routers.empty();
        for (const auto & [name, want] : possible_gates(r)) {
            const double constant = got[0] / want[0];
            bool         fits     = std::isfinite(constant) &&
                        (first || (routers.count(name) && std::abs(routers[name] / constant - 1) < 1e-4));
            for (size_t i = 0; fits && i < want.size(); i++) {
                fits = std::abs(got[i] - constant * want[i]) <= 1e-4 * std::abs(constant * want[i]) + 1e-7;
            }
            if (!fits) {
                routers.erase(name);
            } else if (first) {
                routers[name] = constant;
            }
        }
        if (routers.empty()) {
            fail(r, "no known router gives these gates");
        }
        if (r.layout.weight_sum != 0) {
            const double sum = std::accumulate(got.begin(), got.end(), 0.0);
            if (std::abs(sum / r.layout.weight_sum - 1) > 1e-4) {
                fail(r, "gates add up to " + std::to_string(sum) + ", not " + std::to_string(r.layout.weight_sum));
            }
        }
    }
}

// The capture's rows, in order, against what the witness saw of the same ubatches. Returns how many rows a contiguous
// reader would have got wrong.
size_t check_against(const witness & w, const recording & rec) {
    size_t at = 0, misread = 0;
    for (const auto & ubatch : rec.ubatches) {
        for (size_t i = 0; i < ubatch.size();) {
            const size_t           k = ubatch[i].ids.size();
            const witness::block & b = w.blocks.at(at++);
            const size_t           n = b.strided.size() / k;
            for (size_t j = 0; j < n; j++, i++) {
                const row & r = ubatch.at(i);
                if (r.layer != b.il) {
                    fail(r, "the witness saw layer " + std::to_string(b.il));
                }
                for (size_t e = 0; e < k && !r.layout.has(block_layout::ids_repeat); e++) {
                    if (static_cast<int32_t>(r.ids[e]) != b.strided[j * k + e]) {
                        fail(r, "another expert than the witness saw");
                    }
                }
                misread +=
                    !std::equal(r.ids.begin(), r.ids.end(), b.contiguous.begin() + static_cast<std::ptrdiff_t>(j * k));
                for (size_t e = 0; e < k; e++) {
                    const double gate =
                        r.layout.has(block_layout::norms_gated) ? 1 : std::abs(r.values.at(column::weights)[e]);
                    const double want = b.gated_norms.at(j * k + e);
                    if (std::abs(gate * r.values.at(column::norms)[e] - want) > 1e-5 * want + 1e-9) {
                        fail(r, "norm " + std::to_string(r.values.at(column::norms)[e]) + " of expert " +
                                    std::to_string(r.ids[e]));
                    }
                }
            }
        }
    }
    if (at != w.blocks.size()) {
        throw std::runtime_error("the witness saw " + std::to_string(w.blocks.size()) + " blocks, the capture " +
                                 std::to_string(at));
    }
    return misread;
}

// ---- running a model ------------------------------------------------------------------------------------------------

struct run_options {
    std::string        arch, lora;
    llama_context_type type  = LLAMA_CONTEXT_TYPE_DEFAULT;
    llama_model *      model = nullptr;
};

constexpr int n_prompt = 24, n_decoded = 4;

void run(const run_options & o, const std::function<void(llama_context_params &)> & prepare) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx                = 256;
    params.n_ubatch             = traits_of(o.arch).causal ? 10 : 256;
    params.n_threads = params.n_threads_batch = 1;
    params.embeddings                         = !traits_of(o.arch).has_logits;
    params.pooling_type                       = LLAMA_POOLING_TYPE_NONE;
    params.ctx_type                           = o.type;
    prepare(params);
    const context_ptr ctx(llama_init_from_model(o.model, params));
    if (!ctx) {
        throw std::runtime_error("no context");
    }
    llama_adapter_lora * adapter = o.lora.empty() ? nullptr : llama_adapter_lora_init(o.model, o.lora.c_str());
    float                scale   = 1.0f;
    if (adapter != nullptr) {
        llama_set_adapters_lora(ctx.get(), &adapter, 1, &scale);
    }
    const int  hidden = o.type == LLAMA_CONTEXT_TYPE_MTP ? llama_model_n_embd_out(o.model) : 0;
    const bool embeds = !traits_of(o.arch).has_logits;
    decode(ctx.get(), embeds, 0, n_prompt, hidden);
    for (int i = 0; i < n_decoded; i++) {
        decode(ctx.get(), embeds, n_prompt + i, 1, hidden);
    }
}

recording captured(const run_options & o, capture::mechanism by) {
    capture::capture_options options;
    options.what = column_set::all();
    options.by   = by;
    auto streams = capture_streams(
        options, [&](capture::session & s) { run(o, [&](llama_context_params & p) { s.prepare(p); }); });
    if (streams.size() != 1) {
        throw std::runtime_error(std::to_string(streams.size()) + " streams");
    }
    return std::move(streams[0]);
}

void compare(const recording & a, const recording & b) {
    const auto x = a.rows(), y = b.rows();
    if (x.size() != y.size()) {
        throw std::runtime_error("probes give " + std::to_string(x.size()) + " rows, the callback " +
                                 std::to_string(y.size()));
    }
    for (size_t i = 0; i < x.size(); i++) {
        for (const auto & [column, values] : x[i].values) {
            const auto other = y[i].values.find(column);
            if (other == y[i].values.end()) {
                fail(x[i], "only the probes have " + to_string(column));
            }
            const bool nearly = column == column::norms;  // added up in another order
            for (size_t j = 0; j < values.size(); j++) {
                const bool same = values[j] == other->second[j] ||
                                  (nearly && std::abs(values[j] - other->second[j]) <= 1e-6f * std::abs(values[j]));
                if (!same) {
                    fail(x[i], "probes and callback differ in " + to_string(column));
                }
            }
        }
        row left = x[i], right = y[i];
        left.values.erase(column::norms);
        right.values.erase(column::norms);
        if (left.layout != right.layout) {
            fail(x[i], "probes and callback differ in their layout: columns " + to_string(left.layout.columns) +
                           " and " + to_string(right.layout.columns) + ", flags " + std::to_string(left.layout.flags) +
                           " and " + std::to_string(right.layout.flags));
        }
        if (!(left == right)) {
            fail(x[i], "probes and callback differ in more than norms");
        }
    }
}

void check_rows(const recording & rec, bool tokens_known) {
    std::set<std::pair<int, int>> blocks;
    for (const row & r : rec.rows()) {
        blocks.insert({r.layer, r.block});
        check_ids(r);
        check_selection(r);
        if (r.pos < 0 || r.seq != 0 || (tokens_known && r.token != r.pos * 37 % 256) ||
            r.decode != (r.pos >= n_prompt)) {
            fail(r, "wrong token " + std::to_string(r.token) + ", sequence " + std::to_string(r.seq) + " or phase");
        }
        if (r.values.count(column::gate_input) + r.layout.has(block_layout::ids_repeat) == 0) {
            fail(r, "no gate input");
        }
    }
    if (rec.rows().size() != blocks.size() * (n_prompt + n_decoded)) {
        throw std::runtime_error(std::to_string(rec.rows().size()) + " rows in " + std::to_string(blocks.size()) +
                                 " blocks");
    }
    check_gates(rec.rows());
}

void check_model(const std::string & path, const model_shape & shape, llama_context_type type,
                 const std::string & lora) {
    const model_ptr model = load(path, type == LLAMA_CONTEXT_TYPE_MTP);
    run_options     o;
    o.arch = shape.arch, o.lora = lora, o.type = type, o.model = model.get();

    const recording probed = captured(o, capture::mechanism::probes);
    compare(probed, captured(o, capture::mechanism::eval_callback));
    check_rows(probed, true);

    witness w;
    run(o, [&](llama_context_params & p) { p.cb_eval = witness::callback, p.cb_eval_user_data = &w; });
    const size_t misread = check_against(w, probed);
    const bool   strided = !probed.rows()[0].layout.has(block_layout::given_ids) &&
                         probed.rows()[0].layout.n_expert > probed.rows()[0].layout.n_expert_used;
    if (strided && misread == 0) {
        throw std::runtime_error("a contiguous reader gets everything right: this test cannot see trap 1");
    }
    for (const row & r : probed.rows()) {
        if (r.layout.has(block_layout::mtp) != (type == LLAMA_CONTEXT_TYPE_MTP)) {
            fail(r, "MTP blocks are not told apart");
        }
    }
}

// ---- the cases ------------------------------------------------------------------------------------------------------

std::vector<model_case> all_cases() {
    std::vector<model_case> cases = case_of_each_architecture();
    for (const variant & v : variants()) {
        cases.push_back({"variant-" + v.name, v.options, false});
    }
    model_case lora;
    lora.name               = "lora-qwen3moe";
    lora.options.shape.arch = "qwen3moe";
    lora.lora               = true;
    cases.push_back(lora);
    return cases;
}

class capture_of : public testing::TestWithParam<model_case> {};

TEST_P(capture_of, equals_independent_readings) {
    const model_case &   c = GetParam();
    const scratch_folder scratch;
    const std::string    file = scratch / "model.gguf", adapter = scratch / "adapter.gguf";
    write_random_model(file, c.options);
    if (c.lora) {
        write_lora(adapter, file);
    }
    const model_shape shape = complete(c.options.shape);
    EXPECT_EQ(run_in_child([&](const send_fn &) {
                  check_model(file, shape, LLAMA_CONTEXT_TYPE_DEFAULT, c.lora ? adapter : "");
              }).error,
              "");
    if (shape.n_layer_nextn > 0) {
        EXPECT_EQ(run_in_child([&](const send_fn &) { check_model(file, shape, LLAMA_CONTEXT_TYPE_MTP, ""); }).error,
                  "")
            << "MTP block";
    }
}

TEST(capture_of_all, covers_at_least_49_architectures) {
    const auto   cases = all_cases();
    const size_t n     = static_cast<size_t>(
        std::count_if(cases.begin(), cases.end(), [](const model_case & c) { return !is_variant(c) && !c.lora; }));
    std::printf("architectures: %zu, variants: %zu\n", n, cases.size() - n);
    EXPECT_GE(n, 49u);
}

INSTANTIATE_TEST_SUITE_P(models, capture_of, testing::ValuesIn(all_cases()), case_name);

}  // namespace
