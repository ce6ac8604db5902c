#include "gguf/component.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

namespace moescope::gguf {

namespace {

constexpr std::pair<const char *, const char *> known[] = {
    {"token_embd", "Token Embedding"},
    {"token_embd_norm", "Token Embedding Norm"},
    {"token_types", "Token Type Embedding"},
    {"position_embd", "Position Embedding"},
    {"per_layer_token_embd", "Per-Layer Token Embedding"},
    {"output", "Output"},
    {"output_norm", "Output Norm"},
    {"rope_freqs", "RoPE Frequencies"},
    {"attn_norm", "Attention Norm"},
    {"attn_norm_2", "Attention Norm 2"},
    {"attn_q", "Attention Q"},
    {"attn_k", "Attention K"},
    {"attn_v", "Attention V"},
    {"attn_qkv", "Attention QKV"},
    {"attn_output", "Attention Output"},
    {"post_attention_norm", "Post-Attention Norm"},
    {"ffn_norm", "FFN Norm"},
    {"post_ffw_norm", "Post-FFN Norm"},
    {"ffn_gate_inp", "FFN Router"},
    {"ffn_gate_inp_shexp", "FFN Shared Expert Router"},
    {"exp_probs_b", "FFN Selection Bias"},
    {"exp_probs_b_vl", "FFN Selection Bias VL"},
    {"ffn_gate_tid2eid", "FFN Hash Table"},
    {"ffn_norm_exps", "FFN Expert Norm"},
    {"ffn_gate_exps", "FFN Gate Experts"},
    {"ffn_up_exps", "FFN Up Experts"},
    {"ffn_down_exps", "FFN Down Experts"},
    {"ffn_gate_up_exps", "FFN Gate Up Experts"},
    {"ffn_gate_chexps", "FFN Gate Chunk Experts"},
    {"ffn_up_chexps", "FFN Up Chunk Experts"},
    {"ffn_down_chexps", "FFN Down Chunk Experts"},
    {"ffn_gate_shexp", "FFN Gate Shared Expert"},
    {"ffn_up_shexp", "FFN Up Shared Expert"},
    {"ffn_down_shexp", "FFN Down Shared Expert"},
};

// The words in a name that are not simply capitalised.
constexpr std::pair<const char *, const char *> words[] = {
    {"attn", "Attention"}, {"embd", "Embedding"},
    {"ffn", "FFN"},        {"ssm", "SSM"},
    {"nextn", "NextN"},    {"rope", "RoPE"},
    {"qkv", "QKV"},        {"kv", "KV"},
    {"mqa", "MQA"},        {"dt", "DT"},
    {"ba", "BA"},          {"hc", "HC"},
    {"ple", "PLE"},        {"shexp", "Shared Expert"},
    {"exps", "Experts"},   {"vis", "Vision"},
    {"cls", "Classifier"},
};

std::string in_words(const std::string & base) {
    std::string text;
    size_t      begin = 0;
    while (begin < base.size()) {
        const size_t end  = std::min(base.find_first_of("._", begin), base.size());
        std::string  word = base.substr(begin, end - begin);
        const auto   it =
            std::find_if(std::begin(words), std::end(words), [&](const auto & w) { return word == w.first; });
        if (it != std::end(words)) {
            word = it->second;
        } else if (!word.empty()) {
            word[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(word[0])));
        }
        text += text.empty() || word.empty() ? word : " " + word;
        begin = end + 1;
    }
    return text;
}

std::string suffix_words(const std::string & suffix) {
    return suffix == "bias"          ? " Bias"
           : suffix == "scale"       ? " Scale"
           : suffix == "input_scale" ? " Input Scale"
           : suffix == "lora_a"      ? " LoRA A"
           : suffix == "lora_b"      ? " LoRA B"
                                     : "";
}

}  // namespace

std::string component_type(const tensor_name & name, int expert_id) {
    return component_group(name, expert_id >= 0) + (expert_id >= 0 ? " " + std::to_string(expert_id) : "");
}

std::string component_group(const tensor_name & name, bool is_expert_slice) {
    const auto it =
        std::find_if(std::begin(known), std::end(known), [&](const auto & k) { return name.base == k.first; });
    std::string text = it != std::end(known) ? it->second : in_words(name.base);
    if (is_expert_slice && !text.empty() && text.back() == 's') {
        text.pop_back();  // "Experts" -> "Expert"
    }
    return text + suffix_words(name.suffix);
}

}  // namespace moescope::gguf
