#include "gguf/router_kind.hpp"

#include <algorithm>
#include <string_view>

namespace moescope {

namespace {

enum gating_func { gating_none = 0, gating_softmax = 1, gating_sigmoid = 2, gating_softmax_weight = 3 };   // as in llama.cpp

template <size_t n>
bool contains(const std::string_view (&names)[n], std::string_view name) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// A softmax over all experts whose top-k gates are used as they are.
constexpr std::string_view plain_softmax[] = {"deepseek", "jamba", "llada-moe", "nomic-bert-moe", "olmoe", "qwen2moe"};

// Architectures whose graph decides by the keys expert_gating_func and expert_weights_norm, and what it takes the
// gating for when the key is missing. All others normalise after the selection, or gate with sigmoids.
constexpr std::string_view by_keys_softmax[] = {"bailingmoe", "deepseek2", "deepseek2-ocr", "mistral4"};
constexpr std::string_view by_keys_sigmoid[] = {
    "afmoe", "bailingmoe2", "bailingmoe3", "cohere2moe", "deepseek32", "deepseek4", "dflash", "dots1", "dots3note",
    "exaone-moe", "glm-dsa", "glm4moe", "hy_v3", "hy_v4", "kimi-k3", "laguna", "minimax-m3", "step35",
};

int gating_of(const gguf_metadata & metadata, const std::string & arch) {
    const auto key = metadata.get_uint(arch + ".expert_gating_func");
    if (key && *key != gating_none) {
        return static_cast<int>(*key);
    }
    return contains(by_keys_sigmoid, arch) ? gating_sigmoid : gating_softmax;
}

}  // namespace

router_effect find_router_effect(const gguf_metadata & metadata, const std::string & arch) {
    if (contains(plain_softmax, arch)) {
        return router_effect::scales_gates;
    }
    const bool by_keys = contains(by_keys_softmax, arch) || contains(by_keys_sigmoid, arch);
    const bool norm    = metadata.get_bool(arch + ".expert_weights_norm").value_or(false);
    return by_keys && !norm && gating_of(metadata, arch) == gating_softmax ? router_effect::scales_gates : router_effect::none;
}

bool adds_bias_to_softmax(const gguf_metadata & metadata, const std::string & arch, bool has_selection_bias) {
    constexpr std::string_view always_sigmoid[] = {"llama4", "mimo2", "nemotron_h", "nemotron_h_moe"};
    return has_selection_bias && !contains(always_sigmoid, arch) && gating_of(metadata, arch) == gating_softmax;
}

}  // namespace moescope
