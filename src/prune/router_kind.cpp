#include "prune/router_kind.hpp"

#include <algorithm>
#include <string_view>

namespace moescope::prune {

namespace {

enum gating_func {
    gating_none           = 0,
    gating_softmax        = 1,
    gating_sigmoid        = 2,
    gating_softmax_weight = 3
};  // as in llama.cpp

template <size_t n>
bool contains(const std::string_view (&names)[n], std::string_view name) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// The graph softmaxes over all experts whatever the metadata say: with the top-k gates used as they are, normalised
// where expert_weights_norm says so, or with a bias added for the selection.
constexpr std::string_view softmax_plain[] = {"deepseek", "jamba", "llada-moe", "nomic-bert-moe", "olmoe", "qwen2moe"};
constexpr std::string_view softmax_by_norm[] = {"bailingmoe"};
constexpr std::string_view softmax_biased[]  = {"ernie4_5-moe", "minimax-01"};

// The graph asks expert_gating_func, and these are what it takes a missing key for; expert_weights_norm decides too.
// All other architectures normalise after the selection, or gate with sigmoids.
constexpr std::string_view by_keys_softmax[] = {"deepseek2", "deepseek2-ocr", "mistral4"};
constexpr std::string_view by_keys_sigmoid[] = {
    "afmoe",  "bailingmoe2", "bailingmoe3", "cohere2moe", "deepseek32", "deepseek4",
    "dflash", "dots1",       "dots3note",   "exaone-moe", "glm-dsa",    "glm4moe",
    "hy_v3",  "hy_v4",       "kimi-k3",     "laguna",     "minimax-m3", "step35",
};
constexpr std::string_view by_gating_key[] = {"kimi-linear", "lfm2moe", "minimax-m2",
                                              "smallthinker"};  // always normalised

int gating_of(const gguf::model_metadata & metadata, const std::string & arch) {
    const auto key = metadata.get_uint(arch + ".expert_gating_func");
    if (key && *key != gating_none) {
        return static_cast<int>(*key);
    }
    return contains(by_keys_sigmoid, arch) ? gating_sigmoid : gating_softmax;
}

}  // namespace

router_effect find_router_effect(const gguf::model_metadata & metadata, const std::string & arch) {
    if (contains(softmax_plain, arch)) {
        return router_effect::scales_gates;
    }
    const bool by_keys = contains(by_keys_softmax, arch) || contains(by_keys_sigmoid, arch);
    const bool softmax = contains(softmax_by_norm, arch) || (by_keys && gating_of(metadata, arch) == gating_softmax);
    const bool norm    = metadata.get_bool(arch + ".expert_weights_norm").value_or(false);
    return softmax && !norm ? router_effect::scales_gates : router_effect::none;
}

bool adds_bias_to_softmax(const gguf::model_metadata & metadata, const std::string & arch, bool has_selection_bias) {
    const bool by_key =
        contains(by_keys_softmax, arch) || contains(by_keys_sigmoid, arch) || contains(by_gating_key, arch);
    return has_selection_bias &&
           (contains(softmax_biased, arch) || (by_key && gating_of(metadata, arch) == gating_softmax));
}

}  // namespace moescope::prune
