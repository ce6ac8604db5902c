#include "make-model/metadata.hpp"

#include "core/error.hpp"
#include "make-model/metadata_parts.hpp"
#include "make-model/tokenizer.hpp"

#include <algorithm>

namespace moescope::make_model {
namespace {

uint32_t least_layers(llm_arch arch) {
    switch (arch) {
        case LLM_ARCH_LLAMA4: return 4;     // every fourth layer goes without RoPE
        case LLM_ARCH_GEMMA4: return 5;     // every fifth layer attends to everything
        case LLM_ARCH_GEMMA3N: return 22;   // the first 20 own a KV cache
        case LLM_ARCH_DEEPSEEK4: return 4;  // one compress ratio of each kind, and a plain layer
        case LLM_ARCH_NEMOTRON_H:
        case LLM_ARCH_NEMOTRON_H_MOE: return 4;  // attention, state space, and two with experts
        case LLM_ARCH_HRM_TEXT: return 8;
        default: return 3;
    }
}

void put_sizes(key_writer & kv, const plan & p) {
    const model_shape & s = p.shape;
    kv.u32(LLM_KV_VOCAB_SIZE, s.n_vocab);
    kv.u32(LLM_KV_CONTEXT_LENGTH, s.n_ctx);
    kv.u32(LLM_KV_EMBEDDING_LENGTH, s.n_embd);
    kv.u32(LLM_KV_BLOCK_COUNT, p.n_block);
    if (one_of(p.arch, {LLM_ARCH_NEMOTRON_H, LLM_ARCH_NEMOTRON_H_MOE})) {
        std::vector<uint32_t> n_ff(p.n_block, s.n_ff);  // 0: attention or state space, no feed-forward
        n_ff[0] = n_ff[1] = 0;
        kv.u32s(LLM_KV_FEED_FORWARD_LENGTH, n_ff);
    } else {
        kv.u32(LLM_KV_FEED_FORWARD_LENGTH, s.n_ff);
    }
    kv.f32(LLM_KV_ATTENTION_LAYERNORM_EPS, 1e-5f);
    kv.f32(LLM_KV_ATTENTION_LAYERNORM_RMS_EPS, 1e-5f);
    kv.f32(LLM_KV_ATTENTION_GROUPNORM_EPS, 1e-5f);
    kv.u32(LLM_KV_ATTENTION_GROUPNORM_GROUPS, 8);
    kv.f32(LLM_KV_LOGIT_SCALE, 1.0f);
    kv.f32(LLM_KV_RESIDUAL_SCALE, p.arch == LLM_ARCH_MINICPM ? 1.4f : 1.0f);
    kv.boolean(LLM_KV_USE_PARALLEL_RESIDUAL, false);
}

void put_attention(key_writer & kv, const plan & p) {
    const uint32_t n_head_kv = p.arch == LLM_ARCH_DEEPSEEK4 || has_mla(p.arch) ? 1 : p.n_head;
    if (has_recurrent_layers_by_head_count(p.arch)) {
        std::vector<uint32_t> q(p.n_block, p.n_head), k(p.n_block, n_head_kv);
        q[1] = k[1] = 0;
        kv.u32s(LLM_KV_ATTENTION_HEAD_COUNT, q);
        kv.u32s(LLM_KV_ATTENTION_HEAD_COUNT_KV, k);
    } else {
        kv.u32(LLM_KV_ATTENTION_HEAD_COUNT, p.n_head);
        kv.u32(LLM_KV_ATTENTION_HEAD_COUNT_KV, n_head_kv);
    }
    kv.f32(LLM_KV_ATTENTION_MAX_ALIBI_BIAS, 8.0f);
    kv.f32(LLM_KV_ATTENTION_CLAMP_KQV, 8.0f);
    kv.u32(LLM_KV_ATTENTION_Q_LORA_RANK, p.arch == LLM_ARCH_DEEPSEEK4 ? 64 : 512);
    kv.u32(LLM_KV_ATTENTION_KV_LORA_RANK, 512);
    kv.u32(LLM_KV_ATTENTION_RELATIVE_BUCKETS_COUNT, 8);
    kv.u32(LLM_KV_FULL_ATTENTION_INTERVAL, 2);
    kv.u32(LLM_KV_ATTENTION_SLIDING_WINDOW, 32);
    if (p.arch == LLM_ARCH_GEMMA4) {
        std::vector<uint32_t> is_swa(p.n_block);
        for (uint32_t il = 0; il < p.n_block; il++) {
            is_swa[il] = il % 5 != 4;
        }
        kv.u32s(LLM_KV_ATTENTION_SLIDING_WINDOW_PATTERN, is_swa);
    } else if (has_swa_array(p.arch)) {
        kv.u32s(LLM_KV_ATTENTION_SLIDING_WINDOW_PATTERN, p.every_other(0, 1));
    } else {
        kv.u32(LLM_KV_ATTENTION_SLIDING_WINDOW_PATTERN, 2);
    }
    if (has_mrope(p.arch)) {
        kv.u32s(LLM_KV_ROPE_DIMENSION_SECTIONS, std::vector<uint32_t>(4, p.n_embd_head / 4));
    }
    if (p.arch == LLM_ARCH_MINIMAX_M3) {
        kv.u32(LLM_KV_ROPE_DIMENSION_COUNT, p.n_embd_head / 2);
    }
}

uint32_t gating_function(const plan & p) {
    return p.shape.gating ? p.shape.gating : p.arch == LLM_ARCH_DEEPSEEK4 ? 4 : 2;
}

void put_experts(key_writer & kv, const plan & p) {
    const model_shape & s          = p.shape;
    const bool          has_shared = p.arch != LLM_ARCH_GRANITE_MOE;
    kv.u32(LLM_KV_EXPERT_COUNT, s.n_expert);
    if (s.n_expert_used_per_layer.empty()) {
        kv.u32(LLM_KV_EXPERT_USED_COUNT, s.n_expert_used);
    } else {
        kv.u32s(LLM_KV_EXPERT_USED_COUNT, s.n_expert_used_per_layer);
    }
    kv.u32(LLM_KV_EXPERT_FEED_FORWARD_LENGTH, s.n_ff_exp);
    kv.u32(LLM_KV_EXPERT_CHUNK_FEED_FORWARD_LENGTH, s.n_ff_exp);
    kv.u32(LLM_KV_EXPERT_SHARED_COUNT, has_shared ? 1 : 0);
    kv.u32(LLM_KV_EXPERT_SHARED_FEED_FORWARD_LENGTH, has_shared ? s.n_ff_exp : 0);
    kv.u32(LLM_KV_EXPERT_LATENT_LENGTH, s.n_ff_exp);
    kv.u32(LLM_KV_INTERLEAVE_MOE_LAYER_STEP, 2);
    kv.u32(LLM_KV_EXPERT_GATING_FUNC, gating_function(p));
    kv.f32(LLM_KV_EXPERT_GROUP_SCALE, 1.0f);
    kv.u32(LLM_KV_EXPERTS_PER_GROUP, s.n_experts_per_group);
    if (s.n_expert_groups > 0) {
        kv.u32(LLM_KV_EXPERT_GROUP_COUNT, s.n_expert_groups);
        kv.u32(LLM_KV_EXPERT_GROUP_USED_COUNT, s.n_expert_groups_used);
    }
    const bool must_say = one_of(p.arch, {LLM_ARCH_DEEPSEEK4, LLM_ARCH_HY_V4});
    if (must_say || s.expert_weights_scale != 0.0f || s.expert_weights_norm) {
        kv.f32(LLM_KV_EXPERT_WEIGHTS_SCALE, s.expert_weights_scale != 0.0f ? s.expert_weights_scale : 1.0f);
        kv.boolean(LLM_KV_EXPERT_WEIGHTS_NORM, must_say || s.expert_weights_norm);
    }
    if (one_of(p.arch, {LLM_ARCH_DEEPSEEK4, LLM_ARCH_HY_V4})) {
        kv.f32(LLM_KV_SWIGLU_CLAMP_EXP, 10.0f);
    } else if (p.arch == LLM_ARCH_MAPLE) {
        kv.f32(LLM_KV_SWIGLU_CLAMP_EXP, 7.0f);
    } else if (p.arch == LLM_ARCH_BAILINGMOE3) {
        std::vector<float> clamp(p.n_block, 4.0f);
        clamp[0] = 0.0f;
        kv.f32s(LLM_KV_SWIGLU_CLAMP_EXP, clamp);
        kv.f32s(LLM_KV_SWIGLU_CLAMP_SHEXP, clamp);
    }
}

uint32_t head_count(llm_arch arch, uint32_t n_embd) {
    const uint32_t n_embd_head = arch == LLM_ARCH_DEEPSEEK4 ? 64 : 128;
    return std::max<uint32_t>(1, n_embd / n_embd_head);
}

}  // namespace

model_shape complete(model_shape s) {
    const llm_arch arch = llm_arch_from_string(s.arch);
    if (arch == LLM_ARCH_UNKNOWN) {
        throw error("llama.cpp has no architecture '" + s.arch + "'").fix("--list-archs names those with experts");
    }
    auto or_else = [](uint32_t & value, uint32_t fallback) { value = value ? value : fallback; };
    or_else(s.n_layer, least_layers(arch));
    or_else(s.n_embd, arch == LLM_ARCH_DEEPSEEK4 ? 512 : 256);
    or_else(s.n_ff, s.n_embd);
    or_else(s.n_ff_exp, s.n_embd / 2);
    or_else(s.n_vocab, n_vocab_min);
    if (!s.n_expert_used_per_layer.empty() && s.n_expert_used_per_layer.size() != s.n_layer + s.n_layer_nextn) {
        throw error("top-k per layer has " + std::to_string(s.n_expert_used_per_layer.size()) + " entries for " +
                    std::to_string(s.n_layer + s.n_layer_nextn) + " blocks");
    }
    if (s.n_expert == 0) {
        s.n_expert_used = 0;
    }
    if (s.n_expert_used > s.n_expert) {
        throw error("top-k " + std::to_string(s.n_expert_used) + " exceeds the number of experts, " +
                    std::to_string(s.n_expert));
    }
    return s;
}

gguf_ptr make_metadata(const model_shape & s) {
    const llm_arch arch   = llm_arch_from_string(s.arch);
    const uint32_t n_head = head_count(arch, s.n_embd);
    const plan     p      = {arch, s, s.n_layer + s.n_layer_nextn, n_head, s.n_embd / n_head};

    gguf_ptr gguf(gguf_init_empty());
    gguf_set_val_str(gguf.get(), "general.architecture", s.arch.c_str());
    gguf_set_val_str(gguf.get(), "general.type", "model");
    gguf_set_val_str(gguf.get(), "general.name", ("made " + s.arch).c_str());
    gguf_set_val_u32(gguf.get(), "general.quantization_version", GGML_QNT_VERSION);
    key_writer kv(arch, gguf.get());
    put_sizes(kv, p);
    put_attention(kv, p);
    put_indexer(kv, p);
    put_recurrence(kv, p);
    if (s.n_expert > 0) {
        put_experts(kv, p);
    }
    put_particulars(kv, p);
    set_byte_tokenizer(gguf.get(), s.n_vocab);
    return gguf;
}

}  // namespace moescope::make_model
