// Every MoE architecture of llama.cpp can be made, loads from its file, and computes: finite logits, and a router
// that does not always choose the same experts. Models run in child processes, so that an assertion in llama.cpp
// names the architecture instead of ending the test.

#include "ggml.h"
#include "llama.h"
#include "make-model/architecture.hpp"
#include "make-model/child_process.hpp"
#include "make-model/random_model.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
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

// Diffusion models and encoders attend in both directions and need the whole prompt in one ubatch.
bool is_causal(const std::string & arch) {
    return arch != "llada-moe" && arch != "rnd1" && arch != "nomic-bert-moe";
}

bool gives_embeddings(const std::string & arch) {
    return arch == "llama-embed" || arch == "nomic-bert-moe";
}

void decode(llama_context * ctx, bool embeds, int first, int n) {
    llama_batch batch = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; i++) {
        batch.token[i]     = (first + i) * 37 % 256;
        batch.pos[i]       = first + i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i]    = true;
    }
    batch.n_tokens = n;
    const int status = llama_decode(ctx, batch);
    llama_batch_free(batch);
    if (status != 0) {
        throw std::runtime_error("llama_decode returned " + std::to_string(status));
    }
    const llama_model * model = llama_get_model(ctx);
    const int n_value = embeds ? llama_model_n_embd(model) : llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int i = 0; i < n; i++) {
        const float * values = embeds ? llama_get_embeddings_ith(ctx, i) : llama_get_logits_ith(ctx, i);
        if (!std::all_of(values, values + n_value, [](float v) { return std::isfinite(v); })) {
            throw std::runtime_error("row " + std::to_string(i) + " has an output that is not finite");
        }
        if (std::all_of(values, values + n_value, [&](float v) { return v == values[0]; })) {
            throw std::runtime_error("row " + std::to_string(i) + " has equal outputs");
        }
    }
}

// Loads the file, decodes a prompt in several ubatches and then token by token. Throws on anything wrong.
void use_model(const std::string & path, const std::string & arch, int n_expert_used) {
    llama_model_params mparams = llama_model_default_params();
    mparams.use_extra_bufts = false;
    llama_model * model = llama_model_load_from_file(path.c_str(), mparams);
    if (model == nullptr) {
        throw std::runtime_error("does not load");
    }
    selections seen;
    llama_context_params cparams = llama_context_default_params();
    cparams.n_ctx             = 256;
    cparams.n_ubatch          = is_causal(arch) ? 10 : 256;
    cparams.n_threads         = cparams.n_threads_batch = 1;
    cparams.embeddings        = gives_embeddings(arch);
    cparams.pooling_type      = LLAMA_POOLING_TYPE_NONE;
    cparams.cb_eval           = selections::callback;
    cparams.cb_eval_user_data = &seen;
    llama_context * ctx = llama_init_from_model(model, cparams);
    if (ctx == nullptr) {
        throw std::runtime_error("no context");
    }
    decode(ctx, gives_embeddings(arch), 0, 24);
    for (int i = 0; i < 8; i++) {
        decode(ctx, gives_embeddings(arch), 24 + i, 1);
    }
    if (seen.by_layer.empty()) {
        throw std::runtime_error("no layer selects experts");
    }
    for (const auto & [il, ids] : seen.by_layer) {
        if (static_cast<int>(ids.size()) <= n_expert_used) {
            throw std::runtime_error("layer " + std::to_string(il) + " always selects the same experts");
        }
    }
    llama_free(ctx);
    llama_model_free(model);
}

std::string error_of_using(const std::string & path, const std::string & arch, int n_expert_used) {
    return run_in_child([&](const send_fn &) { use_model(path, arch, n_expert_used); }).error;
}

// Architectures whose tensors llama.cpp loads with experts, but whose graph never reads them; what use_model says.
const std::map<std::string, std::string> & unused_experts() {
    static const std::map<std::string, std::string> names = {{"refact", "no layer selects experts"}};
    return names;
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
    const auto unused = unused_experts().find(GetParam());
    EXPECT_EQ(error_of_using(file.path, GetParam(), 3), unused == unused_experts().end() ? "" : unused->second);
}

// At least as many as the release that moescope is pinned to has; a newer llama.cpp only adds.
TEST(architectures, at_least_49_have_experts_that_are_used) {
    EXPECT_GE(moe_architectures().size() - unused_experts().size(), 49u);
    EXPECT_EQ(std::set<std::string>(survey_architectures().moe.begin(), survey_architectures().moe.end()).size(),
              survey_architectures().moe.size());
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

INSTANTIATE_TEST_SUITE_P(make_model, every_architecture, testing::ValuesIn(moe_architectures()), test_name);

}  // namespace
