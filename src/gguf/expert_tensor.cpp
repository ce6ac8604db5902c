#include "gguf/expert_tensor.hpp"

#include <algorithm>
#include <string_view>

namespace moescope::gguf {

namespace {

template <size_t n>
bool is_one_of(std::string_view name, const std::string_view (&names)[n]) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool starts_with(std::string_view name, std::string_view prefix) {
    return name.substr(0, prefix.size()) == prefix;
}

constexpr std::string_view expert_matrices[]  = {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_gate_up_exps"};
constexpr std::string_view chunk_matrices[]   = {"ffn_gate_chexps", "ffn_up_chexps", "ffn_down_chexps"};
constexpr std::string_view selection_biases[] = {"exp_probs_b", "exp_probs_b_vl"};
constexpr std::string_view per_expert[]       = {"bias", "scale", "input_scale"};
// Not sliced although the name has an expert in it: Arctic's norm before its experts.
constexpr std::string_view known_whole[] = {"ffn_norm_exps"};
// Families whose third dimension counts something else: heads, convolution channels, projections.
constexpr std::string_view other_families[] = {"attn_",   "ssm_",      "time_mix_",  "channel_mix_", "altup_",
                                               "indexer", "shortconv", "conv",       "posnet",       "nextn.",
                                               "dflash_", "vis_",      "cross_attn_"};

bool has_expert_name(const tensor_name & name) {
    return name.base.find("exps") != std::string::npos || starts_with(name.base, "exp_") ||
           name.base.find("expert") != std::string::npos || starts_with(name.base, "ffn_gate.") ||
           starts_with(name.base, "ffn_up.") || starts_with(name.base, "ffn_down.");
}

bool is_of_another_family(const tensor_name & name) {
    return name.layer < 0 || name.suffix == "lora_a" || name.suffix == "lora_b" ||
           std::any_of(std::begin(other_families), std::end(other_families),
                       [&](std::string_view prefix) { return starts_with(name.base, prefix); });
}

// The layout if the last dimension longer than 1 is `axis` (or any, for -1) and counts n slabs; else unknown.
expert_layout checked(const tensor_info & t, expert_part part, int axis, int64_t n) {
    int last = 3;
    while (last > 0 && t.ne[last] == 1) {
        --last;
    }
    if (axis >= 0 && last < axis && n == 1) {
        last = axis;  // a single slab
    }
    // Along axis 0 a slab is one value, so the type must not pack several values into a block.
    const bool whole_slabs = last > 0 || ggml_blck_size(t.type) == 1;
    if (n <= 0 || t.ne[last] != n || (axis >= 0 && last != axis) || !whole_slabs) {
        return {expert_part::unknown, 0, 0};
    }
    return {part, last, n};
}

}  // namespace

expert_layout find_expert_layout(const tensor_info & t, const tensor_name & name, const moe_shape & shape) {
    const int64_t n_expert = shape.n_expert;
    if (n_expert < 2 || name.layer < 0 || is_one_of(name.base, known_whole)) {
        return {};
    }
    const bool is_weight = name.suffix == "weight";
    if (is_one_of(name.base, expert_matrices)) {
        return is_weight                            ? checked(t, expert_part::matrix, 2, n_expert)
               : is_one_of(name.suffix, per_expert) ? checked(t, expert_part::value, -1, n_expert)
                                                    : expert_layout{expert_part::unknown, 0, 0};
    }
    if (is_one_of(name.base, chunk_matrices)) {
        const int64_t n_chunk = shape.experts_per_chunk > 0 ? n_expert / shape.experts_per_chunk : 0;
        return is_weight ? checked(t, expert_part::chunk_matrix, 2, n_chunk)
                         : expert_layout{expert_part::unknown, 0, 0};
    }
    if (name.base == "ffn_gate_inp") {
        return is_weight               ? checked(t, expert_part::router, 1, n_expert)
               : name.suffix == "bias" ? checked(t, expert_part::value, 0, n_expert)
                                       : expert_layout{};  // the scale of the router's input (Gemma 4)
    }
    if (is_one_of(name.base, selection_biases)) {
        return checked(t, expert_part::value, 0, n_expert);
    }
    if (name.base == "ffn_gate_tid2eid") {
        return {t.type == GGML_TYPE_I32 ? expert_part::hash_table : expert_part::unknown, 0, 0};
    }
    const bool expert_shaped = t.ne[2] == n_expert && t.ne[3] == 1 && !is_of_another_family(name);
    return {expert_shaped || has_expert_name(name) ? expert_part::unknown : expert_part::none, 0, 0};
}

}  // namespace moescope::gguf
