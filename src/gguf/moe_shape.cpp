#include "gguf/moe_shape.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.hpp"

namespace moescope::gguf {

namespace {

constexpr uint64_t max_layers = 512;  // llama.cpp's LLAMA_MAX_LAYERS

uint32_t get_count(const model_metadata & metadata, const std::string & key, uint64_t max) {
    const uint64_t n = metadata.get_uint(key).value_or(0);
    if (n > max) {
        throw error(fmt::format("{} is {}, but at most {} make sense", key, n, max));
    }
    return static_cast<uint32_t>(n);
}

}  // namespace

uint32_t moe_shape::n_expert_used_at(int il) const {
    return il >= 0 && static_cast<size_t>(il) < n_expert_used.size() ? n_expert_used[static_cast<size_t>(il)] : 0;
}

uint32_t moe_shape::n_expert_used_max() const {
    return n_expert_used.empty() ? 0 : *std::max_element(n_expert_used.begin(), n_expert_used.end());
}

moe_shape read_moe_shape(const model_metadata & metadata) {
    constexpr uint64_t max_experts = 65535;  // what a selection id can name in a trace; llama.cpp stops earlier
    moe_shape          shape;
    shape.arch              = metadata.get_string("general.architecture").value_or("");
    shape.name              = metadata.get_string("general.name").value_or("");
    const auto key          = [&](const char * name) { return shape.arch + "." + name; };
    shape.n_layer           = get_count(metadata, key("block_count"), max_layers);
    shape.n_layer_nextn     = get_count(metadata, key("nextn_predict_layers"), shape.n_layer);
    shape.n_expert          = get_count(metadata, key("expert_count"), max_experts);
    shape.n_expert_groups   = get_count(metadata, key("expert_group_count"), max_experts);
    shape.n_group_used      = get_count(metadata, key("expert_group_used_count"), max_experts);
    shape.experts_per_chunk = shape.arch == "grovemoe" ? get_count(metadata, key("experts_per_group"), max_experts) : 0;

    const std::vector<uint64_t> used = metadata.get_uints(key("expert_used_count"));  // a number, or one per layer
    for (uint32_t il = 0; il < shape.n_layer && !used.empty(); ++il) {
        const uint64_t k = used.size() == 1 ? used.front() : il < used.size() ? used[il] : 0;
        shape.n_expert_used.push_back(static_cast<uint32_t>(std::min(k, max_experts)));
    }
    return shape;
}

}  // namespace moescope::gguf
