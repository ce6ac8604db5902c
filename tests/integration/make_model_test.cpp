// Every MoE architecture of llama.cpp can be made, loads from its file, and computes: finite logits, and a router
// that does not always choose the same experts. Models run in child processes, so that an assertion in llama.cpp
// names the architecture instead of ending the test.

#include "core/error.hpp"
#include "ggml.h"
#include "llama.h"
#include "make-model/architecture.hpp"
#include "make-model/child_process.hpp"
#include "make-model/lora.hpp"
#include "make-model/metadata.hpp"
#include "make-model/variants.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <unistd.h>

using namespace moescope::make_model;

namespace {

struct scratch_file {
    std::string path;
    explicit scratch_file(const std::string & name)
        : path((std::filesystem::temp_directory_path() / (name + "." + std::to_string(::getpid()) + ".gguf")).string()) {}
    ~scratch_file() { std::filesystem::remove(path); }
};

// The experts that each layer selected, over all rows.
struct selections {
    std::map<int, std::set<int32_t>> by_layer;

    static bool callback(ggml_tensor * t, bool ask, void * self) {
        const bool wanted = std::strncmp(t->name, "ffn_moe_topk-", 13) == 0 && std::strchr(t->name, ' ') == nullptr;
        if (ask) {
            return wanted;
        }
        std::set<int32_t> & seen = static_cast<selections *>(self)->by_layer[std::stoi(t->name + 13)];
        for (int64_t row = 0; row < t->ne[1]; row++) {
            for (int64_t i = 0; i < t->ne[0]; i++) {
                int32_t id;
                std::memcpy(&id, static_cast<const char *>(t->data) + row * t->nb[1] + i * t->nb[0], sizeof id);
                seen.insert(id);
            }
        }
        return true;
    }
};

struct context_deleter {
    void operator()(llama_context * ctx) const { llama_free(ctx); }
};
struct model_deleter {
    void operator()(llama_model * model) const { llama_model_free(model); }
};
using context_ptr = std::unique_ptr<llama_context, context_deleter>;
using model_ptr   = std::unique_ptr<llama_model, model_deleter>;

model_ptr load(const std::string & path, bool mtp = false) {
    llama_model_params params = llama_model_default_params();
    params.use_extra_bufts = false;
    params.load_mtp        = mtp;
    model_ptr model(llama_model_load_from_file(path.c_str(), params));
    if (!model) {
        throw std::runtime_error("does not load");
    }
    return model;
}

context_ptr make_context(llama_model * model, const std::string & arch, selections & seen, llama_context_type type) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx             = 256;
    params.n_ubatch          = traits_of(arch).causal ? 10 : 256;
    params.n_threads         = params.n_threads_batch = 1;
    params.embeddings        = !traits_of(arch).has_logits;
    params.pooling_type      = LLAMA_POOLING_TYPE_NONE;
    params.cb_eval           = selections::callback;
    params.cb_eval_user_data = &seen;
    params.ctx_type          = type;
    context_ptr ctx(llama_init_from_model(model, params));
    if (!ctx) {
        throw std::runtime_error("no context");
    }
    return ctx;
}

void check_row(const float * values, int n, int row) {
    if (!std::all_of(values, values + n, [](float v) { return std::isfinite(v); })) {
        throw std::runtime_error("row " + std::to_string(row) + " has an output that is not finite");
    }
    if (std::all_of(values, values + n, [&](float v) { return v == values[0]; })) {
        throw std::runtime_error("row " + std::to_string(row) + " has equal outputs");
    }
}

// A batch of n tokens of sequence 0, from that position on; for an MTP context with a hidden state for each.
struct batch {
    std::vector<llama_token>    tokens;
    std::vector<float>          hidden;
    std::vector<llama_pos>      pos;
    std::vector<int32_t>        n_seq;
    llama_seq_id                seq = 0, * seq_of = &seq;
    std::vector<llama_seq_id *> seqs;
    std::vector<int8_t>         outputs;

    batch(int first, int n, int n_hidden) : n_seq(n, 1), seqs(n, seq_of), outputs(n, 1) {
        for (int i = 0; i < n; i++) {
            tokens.push_back((first + i) * 37 % 256);
            pos.push_back(first + i);
        }
        for (int i = 0; i < n * n_hidden; i++) {
            hidden.push_back(std::sin(0.7f * static_cast<float>(i * i % 1009)));
        }
    }
    llama_batch view() {
        return {static_cast<int32_t>(tokens.size()), tokens.data(), hidden.empty() ? nullptr : hidden.data(), pos.data(),
                n_seq.data(), seqs.data(), outputs.data()};
    }
};

void decode(llama_context * ctx, bool embeds, int first, int n, int n_hidden = 0) {
    batch b(first, n, n_hidden);
    const int status = llama_decode(ctx, b.view());
    if (status != 0) {
        throw std::runtime_error("llama_decode returned " + std::to_string(status));
    }
    const llama_model * model = llama_get_model(ctx);
    const int n_value = embeds ? llama_model_n_embd(model) : llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int i = 0; i < n; i++) {
        check_row(embeds ? llama_get_embeddings_ith(ctx, i) : llama_get_logits_ith(ctx, i), n_value, i);
    }
}

// That the layers in [first, last) chose experts, and not always the same ones (where there is a choice).
void check_selections(const selections & seen, const model_shape & s, int first, int last) {
    if (seen.by_layer.empty()) {
        throw std::runtime_error("no layer selects experts");
    }
    for (const auto & [il, ids] : seen.by_layer) {
        if (il < first || il >= last) {
            throw std::runtime_error("layer " + std::to_string(il) + " selects experts");
        }
        if (s.n_expert_used < s.n_expert && ids.size() <= s.n_expert_used) {
            throw std::runtime_error("layer " + std::to_string(il) + " always selects the same experts");
        }
    }
}

// Loads the file, decodes a prompt in several ubatches and then token by token; then its MTP block, if it has one.
// Throws on anything wrong.
void use_model(const std::string & path, const model_shape & shape) {
    const model_shape s = complete(shape);
    const int n_layer = static_cast<int>(s.n_layer), n_all = n_layer + static_cast<int>(s.n_layer_nextn);
    {
        const model_ptr   model = load(path);
        selections        seen;
        const context_ptr ctx = make_context(model.get(), s.arch, seen, LLAMA_CONTEXT_TYPE_DEFAULT);
        decode(ctx.get(), !traits_of(s.arch).has_logits, 0, 24);
        for (int i = 0; i < 8; i++) {
            decode(ctx.get(), !traits_of(s.arch).has_logits, 24 + i, 1);
        }
        check_selections(seen, s, 0, n_layer);
    }
    if (n_all > n_layer) {
        const model_ptr   model = load(path, true);
        selections        seen;
        const context_ptr ctx = make_context(model.get(), s.arch, seen, LLAMA_CONTEXT_TYPE_MTP);
        decode(ctx.get(), false, 0, 24, llama_model_n_embd_out(model.get()));
        check_selections(seen, s, n_layer, n_all);
    }
}

std::string error_of_using(const std::string & path, const model_shape & shape) {
    return run_in_child([&](const send_fn &) { use_model(path, shape); }).error;
}

// Architectures that cannot be asked for their tensors with the metadata of a language model, and llama.cpp's words.
// Of these only dflash can have experts (as the draft of a DeepSeek 4); it runs beside its target model, not alone.
const std::map<std::string, std::string> & exclusions() {
    static const std::map<std::string, std::string> quotes = {
        {"apertus",          "key not found in model: xielu.alpha_n"},
        {"arwkv7",           "key not found in model: arwkv7.wkv.head_size"},
        {"bert",             "bert model needs to define token type count"},
        {"clip",             "CLIP cannot be used as main model"},
        {"dflash",           "DFlash model requires 'target_layers' in GGUF metadata"},
        {"eagle3",           "EAGLE3 model requires 'extract_layers' in GGUF metadata"},
        {"gemma4-assistant", "array key not found in model: gemma4-assistant.attention.sliding_window_pattern"},
        {"gptj",             "unsupported model architecture: 'gptj'"},
        {"hrm_text",         "key not found in model: hrm_text.hrm.layers_per_stack"},
        {"jina-bert-v2",     "GGML_ASSERT(t_meta.ne[dim] >= 1) failed"},
        {"jina-bert-v3",     "jina-bert-v3 model needs to define token type count"},
        {"nomic-bert",       "nomic-bert model needs to define token type count"},
        {"phi3",             "error loading model vocabulary: unordered_map::at"},
        {"rwkv6",            "key not found in model: rwkv6.wkv.head_size"},
        {"rwkv6qwen2",       "key not found in model: rwkv6qwen2.wkv.head_size"},
        {"rwkv7",            "key not found in model: rwkv7.wkv.head_size"},
        {"wavtokenizer-dec", "key not found in model: wavtokenizer-dec.features_length"},
    };
    return quotes;
}

class every_architecture : public testing::TestWithParam<std::string> {};

TEST_P(every_architecture, computes_from_its_file) {
    random_options options;
    options.shape.arch = GetParam();
    const scratch_file file("made-" + GetParam());
    ASSERT_NO_THROW(write_random_model(file.path, options));
    EXPECT_EQ(error_of_using(file.path, options.shape), traits_of(GetParam()).reads_experts ? "" : "no layer selects experts");
}

// At least as many as the release that moescope is pinned to has; a newer llama.cpp only adds.
TEST(architectures, at_least_49_have_experts_that_are_used) {
    const std::vector<std::string> names = moe_architectures();
    EXPECT_GE(std::count_if(names.begin(), names.end(), [](const std::string & arch) { return traits_of(arch).reads_experts; }), 49);
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
}

// Whatever of llama.cpp's list is neither made nor known to be dense is named here, with llama.cpp's reason: an
// architecture that a newer llama.cpp adds shows up as made, as dense, or as a failure of this test.
TEST(architectures, every_exclusion_quotes_llama) {
    std::map<std::string, std::string> failed;
    for (const auto & [arch, error] : survey_architectures().failed) {
        failed[arch] = error;
    }
    for (const auto & [arch, quote] : exclusions()) {
        ASSERT_EQ(failed.count(arch), 1u) << arch << " is not excluded any more";
        EXPECT_NE(failed[arch].find(quote), std::string::npos) << arch << ": " << failed[arch];
        failed.erase(arch);
    }
    for (const auto & [arch, error] : failed) {
        ADD_FAILURE() << arch << " cannot be tried, and no exclusion names it: " << error;
    }
}

std::string test_name(const testing::TestParamInfo<std::string> & info) {
    std::string name = info.param;
    std::replace_if(name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
    return name;
}

// The output row of the last of eight tokens, and the experts chosen, with or without an adapter. In this process.
std::vector<float> last_logits(llama_model * model, const std::string & arch, const std::string & lora, selections & seen) {
    const context_ptr ctx = make_context(model, arch, seen, LLAMA_CONTEXT_TYPE_DEFAULT);
    llama_adapter_lora * adapter = lora.empty() ? nullptr : llama_adapter_lora_init(model, lora.c_str());
    float scale = 1.0f;
    if (!lora.empty() && (adapter == nullptr || llama_set_adapters_lora(ctx.get(), &adapter, 1, &scale) != 0)) {
        throw std::runtime_error("the adapter does not load");
    }
    decode(ctx.get(), false, 0, 8);
    const float * row = llama_get_logits_ith(ctx.get(), 7);
    return std::vector<float>(row, row + llama_vocab_n_tokens(llama_model_get_vocab(model)));
}

TEST(lora, loads_on_its_base_and_changes_routing_and_output) {
    const scratch_file base("lora-base"), adapter("lora-adapter");
    for (const char * arch : {"qwen3moe", "gpt-oss", "deepseek2"}) {
        random_options options;
        options.shape.arch = arch;
        write_random_model(base.path, options);
        write_lora(adapter.path, base.path);
        const std::string error = run_in_child([&](const send_fn &) {
            const model_ptr model = load(base.path);
            selections plain, adapted;
            if (last_logits(model.get(), arch, "", plain) == last_logits(model.get(), arch, adapter.path, adapted)) {
                throw std::runtime_error("the adapter changes nothing");
            }
        }).error;
        EXPECT_EQ(error, "") << arch;
    }
}

// A file that is loaded computes what the model computes that llama.cpp builds in memory from the same metadata,
// tensor types and weights.
TEST(file, computes_what_the_model_in_memory_computes) {
    const scratch_file file("in-memory");
    for (const char * arch : {"qwen3moe", "olmoe", "deepseek2", "nemotron_h_moe"}) {
        random_options options;
        options.shape.arch    = arch;
        options.layout.biases = options.layout.scales = true;   // in memory, llama.cpp creates all that is optional
        options.layout.fused_gate_up = true;
        write_random_model(file.path, options);
        const std::string error = run_in_child([&](const send_fn &) {
            struct source {
                model_layout layout;
                fill_row     fill;
            } src = {make_layout(options.shape, options.layout), {}};
            src.fill = random_weights(src.layout, options.seed);
            auto set = [](ggml_tensor * tensor, void * user) {
                const tensor_spec spec = {tensor->name, tensor->type, {tensor->ne[0], tensor->ne[1], tensor->ne[2], tensor->ne[3]}};
                for (int64_t row = 0; row < spec.n_rows(); row++) {
                    static_cast<source *>(user)->fill(spec, row, static_cast<float *>(tensor->data) + row * spec.ne[0]);
                }
            };
            const model_ptr in_memory(llama_model_init_from_user(src.layout.kv.get(), set, &src, llama_model_default_params()));
            if (!in_memory) {
                throw std::runtime_error("no model in memory");
            }
            selections a, b;
            if (last_logits(in_memory.get(), arch, "", a) != last_logits(load(file.path).get(), arch, "", b)) {
                throw std::runtime_error("logits differ");
            }
            if (a.by_layer != b.by_layer) {
                throw std::runtime_error("selections differ");
            }
        }).error;
        EXPECT_EQ(error, "") << arch;
    }
}

TEST(file, depends_on_the_seed_alone) {
    const scratch_file a("seed-a"), b("seed-b");
    auto bytes = [](const std::string & path) {
        std::ifstream in(path, std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(in), {});
    };
    random_options options;
    options.type = GGML_TYPE_Q8_0;
    write_random_model(a.path, options);
    write_random_model(b.path, options);
    EXPECT_TRUE(bytes(a.path) == bytes(b.path));
    options.seed = 2;
    write_random_model(b.path, options);
    EXPECT_FALSE(bytes(a.path) == bytes(b.path));
}

TEST(dense, a_model_without_experts_has_none) {
    const scratch_file file("dense");
    random_options options;
    options.shape.arch     = "llama";
    options.shape.n_expert = 0;
    ASSERT_NO_THROW(write_random_model(file.path, options));
    EXPECT_EQ(error_of_using(file.path, options.shape), "no layer selects experts");
}

TEST(errors, say_what_llama_says) {
    random_options options;
    options.shape.arch = "no-such-arch";
    EXPECT_THROW(write_random_model("unused", options), moescope::error);
    options.shape.arch          = "qwen3moe";
    options.shape.n_expert_used = 9;
    EXPECT_THROW(write_random_model("unused", options), moescope::error);
    options.shape.n_expert_used = 3;
    EXPECT_THROW(write_random_model("/no/such/folder/model.gguf", options), moescope::error);
    options.shape.n_expert = options.shape.n_expert_used = 0;
    try {
        write_random_model("unused", options);
        FAIL() << "a qwen3moe without experts was made";
    } catch (const moescope::error & refused) {
        EXPECT_NE(std::string(refused.what()).find("llama.cpp refuses this shape of qwen3moe: "), std::string::npos) << refused.what();
    }
}

class every_variant : public testing::TestWithParam<std::string> {};

TEST_P(every_variant, computes_from_its_file) {
    const variant &    v = find_variant(GetParam());
    const scratch_file file("variant-" + v.name);
    ASSERT_NO_THROW(write_random_model(file.path, v.options));
    EXPECT_EQ(error_of_using(file.path, v.options.shape), "");
}

INSTANTIATE_TEST_SUITE_P(make_model, every_variant, testing::ValuesIn([] {
    std::vector<std::string> names;
    for (const variant & v : variants()) {
        names.push_back(v.name);
    }
    return names;
}()), test_name);

INSTANTIATE_TEST_SUITE_P(make_model, every_architecture, testing::ValuesIn(moe_architectures()), test_name);

}  // namespace
