// Every MoE architecture of llama.cpp can be made, loads from its file, and computes: finite logits, and a router
// that does not always choose the same experts. Models run in child processes, so that an assertion in llama.cpp
// names the architecture instead of ending the test.

#include "make-model/random_model.hpp"
#include "make-model/variants.hpp"
#include "support/made_model.hpp"

#include <gtest/gtest.h>

using namespace moescope::test;

namespace {

// Architectures that cannot be asked for their tensors with the metadata of a language model, and llama.cpp's words.
// Of these only dflash can have experts (as the draft of a DeepSeek 4); it runs beside its target model, not alone.
const std::map<std::string, std::string> & exclusions() {
    static const std::map<std::string, std::string> quotes = {
        {"apertus", "key not found in model: xielu.alpha_n"},
        {"arwkv7", "key not found in model: arwkv7.wkv.head_size"},
        {"bert", "bert model needs to define token type count"},
        {"clip", "CLIP cannot be used as main model"},
        {"dflash", "DFlash model requires 'target_layers' in GGUF metadata"},
        {"eagle3", "EAGLE3 model requires 'extract_layers' in GGUF metadata"},
        {"gemma4-assistant", "array key not found in model: gemma4-assistant.attention.sliding_window_pattern"},
        {"gptj", "unsupported model architecture: 'gptj'"},
        {"hrm_text", "key not found in model: hrm_text.hrm.layers_per_stack"},
        {"jina-bert-v2", "GGML_ASSERT(t_meta.ne[dim] >= 1) failed"},
        {"jina-bert-v3", "jina-bert-v3 model needs to define token type count"},
        {"nomic-bert", "nomic-bert model needs to define token type count"},
        {"phi3", "error loading model vocabulary: unordered_map::at"},
        {"rwkv6", "key not found in model: rwkv6.wkv.head_size"},
        {"rwkv6qwen2", "key not found in model: rwkv6qwen2.wkv.head_size"},
        {"rwkv7", "key not found in model: rwkv7.wkv.head_size"},
        {"wavtokenizer-dec", "key not found in model: wavtokenizer-dec.features_length"},
    };
    return quotes;
}

class every_architecture : public testing::TestWithParam<std::string> {};

TEST_P(every_architecture, computes_from_its_file) {
    random_options options;
    options.shape.arch = GetParam();
    const scratch_folder scratch;
    const std::string    file = scratch / "model.gguf";
    ASSERT_NO_THROW(write_random_model(file, options));
    EXPECT_EQ(error_of_using(file, options.shape),
              traits_of(GetParam()).reads_experts ? "" : "no layer selects experts");
}

// At least as many as the release that moescope is pinned to has; a newer llama.cpp only adds.
TEST(architectures, at_least_49_have_experts_that_are_used) {
    const std::vector<std::string> names = moe_architectures();
    EXPECT_GE(std::count_if(names.begin(), names.end(),
                            [](const std::string & arch) { return traits_of(arch).reads_experts; }),
              49);
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
    std::replace_if(
        name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
    return name;
}

class every_variant : public testing::TestWithParam<std::string> {};

TEST_P(every_variant, computes_from_its_file) {
    const variant &      v = find_variant(GetParam());
    const scratch_folder scratch;
    const std::string    file = scratch / "model.gguf";
    ASSERT_NO_THROW(write_random_model(file, v.options));
    EXPECT_EQ(error_of_using(file, v.options.shape), "");
}

INSTANTIATE_TEST_SUITE_P(make_model, every_variant, testing::ValuesIn([] {
                             std::vector<std::string> names;
                             for (const variant & v : variants()) {
                                 names.push_back(v.name);
                             }
                             return names;
                         }()),
                         test_name);

INSTANTIATE_TEST_SUITE_P(make_model, every_architecture, testing::ValuesIn(moe_architectures()), test_name);

}  // namespace
