#include "make-model/metadata.hpp"

#include "core/error.hpp"
#include "llama-arch.h"   // private to llama.cpp: its own list of architectures and of key names
#include "make-model/tokenizer.hpp"

#include <algorithm>
#include <initializer_list>

namespace moescope::make_model {
namespace {

using arch_list = std::initializer_list<llm_arch>;

bool one_of(llm_arch arch, arch_list list) {
    return std::find(list.begin(), list.end(), arch) != list.end();
}

// Multi-head latent attention as DeepSeek 2 has it.
bool has_mla(llm_arch arch) {
    return one_of(arch, {LLM_ARCH_DEEPSEEK2, LLM_ARCH_DEEPSEEK32, LLM_ARCH_GLM_DSA, LLM_ARCH_DOTS3NOTE, LLM_ARCH_KIMI_LINEAR,
                         LLM_ARCH_BAILINGMOE3, LLM_ARCH_KIMI_K3, LLM_ARCH_MISTRAL4, LLM_ARCH_HY_V4});
}

// Layers without attention heads between layers with them; the loader tells them apart by head_count = 0.
bool has_recurrent_layers_by_head_count(llm_arch arch) {
    return one_of(arch, {LLM_ARCH_PLAMO2, LLM_ARCH_JAMBA, LLM_ARCH_NEMOTRON_H, LLM_ARCH_NEMOTRON_H_MOE,
                         LLM_ARCH_GRANITE_HYBRID, LLM_ARCH_LFM2, LLM_ARCH_LFM2MOE, LLM_ARCH_KIMI_LINEAR,
                         LLM_ARCH_BAILINGMOE3, LLM_ARCH_KIMI_K3});
}

// These read the sliding-window pattern as one entry per layer, not as a period.
bool has_swa_array(llm_arch arch) {
    return one_of(arch, {LLM_ARCH_COHERE2MOE, LLM_ARCH_MIMO2, LLM_ARCH_STEP35, LLM_ARCH_SPARK2_5, LLM_ARCH_MUSE_GLIMMER,
                         LLM_ARCH_GRANITE_SWA, LLM_ARCH_DOTS3NOTE, LLM_ARCH_MAPLE});
}

// Gated delta net with 128-wide states.
bool has_delta_net(llm_arch arch) {
    return one_of(arch, {LLM_ARCH_QWEN3NEXT, LLM_ARCH_QWEN35, LLM_ARCH_QWEN35MOE, LLM_ARCH_QWEN4EXP});
}

// Positions of several dimensions; others that know the key read it as "this is the vision model of the family".
bool has_mrope(llm_arch arch) {
    return one_of(arch, {LLM_ARCH_QWEN2VL, LLM_ARCH_QWEN3VL, LLM_ARCH_QWEN3VLMOE, LLM_ARCH_QWEN35, LLM_ARCH_QWEN35MOE,
                         LLM_ARCH_QWEN4EXP, LLM_ARCH_QWEN3TTS, LLM_ARCH_PADDLEOCR});
}

uint32_t least_layers(llm_arch arch) {
    switch (arch) {
        case LLM_ARCH_LLAMA4:         return 4;    // every fourth layer goes without RoPE
        case LLM_ARCH_GEMMA4:         return 5;    // every fifth layer attends to everything
        case LLM_ARCH_GEMMA3N:        return 22;   // the first 20 own a KV cache
        case LLM_ARCH_DEEPSEEK4:      return 4;    // one compress ratio of each kind, and a plain layer
        case LLM_ARCH_NEMOTRON_H:
        case LLM_ARCH_NEMOTRON_H_MOE: return 4;    // attention, state space, and two with experts
        case LLM_ARCH_HRM_TEXT:       return 8;
        default:                      return 3;
    }
}

// One writer for all value types, so that a table of hyper-parameters reads as one.
class key_writer {
public:
    key_writer(llm_arch arch, gguf_context * kv) : key_(arch), kv_(kv) {}

    void u32(llm_kv key, uint32_t value) { gguf_set_val_u32(kv_, key_(key).c_str(), value); }
    void f32(llm_kv key, float value) { gguf_set_val_f32(kv_, key_(key).c_str(), value); }
    void boolean(llm_kv key, bool value) { gguf_set_val_bool(kv_, key_(key).c_str(), value); }
    void u32s(llm_kv key, const std::vector<uint32_t> & v) { array(key, GGUF_TYPE_UINT32, v); }
    void u64s(llm_kv key, const std::vector<uint64_t> & v) { array(key, GGUF_TYPE_UINT64, v); }
    void f32s(llm_kv key, const std::vector<float> & v) { array(key, GGUF_TYPE_FLOAT32, v); }

private:
    template <class T>
    void array(llm_kv key, gguf_type type, const std::vector<T> & values) {
        gguf_set_arr_data(kv_, key_(key).c_str(), type, values.data(), values.size());
    }

    LLM_KV         key_;
    gguf_context * kv_;
};

// What every group of hyper-parameters below looks at.
struct plan {
    llm_arch            arch;
    const model_shape & shape;
    uint32_t            n_block;       // with the nextn blocks
    uint32_t            n_head;
    uint32_t            n_embd_head;

    std::vector<uint32_t> every_other(uint32_t even, uint32_t odd) const {
        std::vector<uint32_t> values(n_block);
        for (uint32_t il = 0; il < n_block; il++) {
            values[il] = il % 2 ? odd : even;
        }
        return values;
    }
};

void put_sizes(key_writer & kv, const plan & p) {
    const model_shape & s = p.shape;
    kv.u32(LLM_KV_VOCAB_SIZE, s.n_vocab);
    kv.u32(LLM_KV_CONTEXT_LENGTH, s.n_ctx);
    kv.u32(LLM_KV_EMBEDDING_LENGTH, s.n_embd);
    kv.u32(LLM_KV_BLOCK_COUNT, p.n_block);
    if (one_of(p.arch, {LLM_ARCH_NEMOTRON_H, LLM_ARCH_NEMOTRON_H_MOE})) {
        std::vector<uint32_t> n_ff(p.n_block, s.n_ff);   // 0: attention or state space, no feed-forward
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

// The compressed key is 512 values and 64 rotated ones; unpacked, a head has 128 + 64 for keys and 128 for values.
void put_mla(key_writer & kv, const plan & p) {
    kv.u32(LLM_KV_ATTENTION_KEY_LENGTH, 576);
    kv.u32(LLM_KV_ATTENTION_VALUE_LENGTH, 512);
    kv.u32(LLM_KV_ROPE_DIMENSION_COUNT, 64);
    kv.u32(LLM_KV_ATTENTION_KEY_LENGTH_MLA, 192);
    kv.u32(LLM_KV_ATTENTION_VALUE_LENGTH_MLA, 128);
    if (p.arch == LLM_ARCH_DOTS3NOTE) {
        kv.u32(LLM_KV_ATTENTION_KV_LORA_RANK_SWA, 512);
        kv.u32(LLM_KV_ATTENTION_KEY_LENGTH_SWA, 576);
        kv.u32(LLM_KV_ATTENTION_VALUE_LENGTH_SWA, 512);
        kv.u32(LLM_KV_ATTENTION_KEY_LENGTH_MLA_SWA, 192);
        kv.u32(LLM_KV_ATTENTION_VALUE_LENGTH_MLA_SWA, 128);
        kv.f32(LLM_KV_ROPE_FREQ_BASE_SWA, 10000.0f);
    }
}

// Sparse attention picks among more keys than any test has, so that rounding cannot change what it picks.
void put_indexer(key_writer & kv, const plan & p) {
    kv.u32(LLM_KV_ATTENTION_INDEXER_HEAD_COUNT, p.arch == LLM_ARCH_MINIMAX_M3 ? p.n_head : 64);
    kv.u32(LLM_KV_ATTENTION_INDEXER_KEY_LENGTH, p.arch == LLM_ARCH_QWEN4EXP ? p.n_embd_head : 128);
    kv.u32(LLM_KV_ATTENTION_INDEXER_TOP_K, 131072);
    kv.u32(LLM_KV_ATTENTION_INDEXER_BLOCK_SIZE, 4);
    kv.u32(LLM_KV_ATTENTION_INDEXER_LOCAL_BLOCKS, 1);
    if (one_of(p.arch, {LLM_ARCH_DOTS3NOTE, LLM_ARCH_HY_V4})) {
        kv.u32s(LLM_KV_ATTENTION_INDEXER_TYPES, p.every_other(1, 0));
    }
}

void put_recurrence(key_writer & kv, const plan & p) {
    const bool delta = has_delta_net(p.arch);
    kv.u32(LLM_KV_SSM_INNER_SIZE, delta ? 256 : 2 * p.shape.n_embd);
    kv.u32(LLM_KV_SSM_CONV_KERNEL, 4);
    kv.u32(LLM_KV_SSM_STATE_SIZE, 128);
    kv.u32(LLM_KV_SSM_TIME_STEP_RANK, delta ? 2 : p.n_head);
    kv.u32(LLM_KV_SSM_GROUP_COUNT, p.arch == LLM_ARCH_PLAMO2 ? 0 : 2);
    kv.u32(LLM_KV_KDA_HEAD_DIM, 128);
    kv.boolean(LLM_KV_KDA_SAFE_GATE, true);
    kv.f32(LLM_KV_KDA_GATE_LOWER_BOUND, -5.0f);
    kv.u32(LLM_KV_SHORTCONV_L_CACHE, 3);
    kv.u32(LLM_KV_ATTN_RES_BLOCK_SIZE, 12);
    kv.f32(LLM_KV_ACTIVATION_SITU_BETA, 4.0f);
    kv.f32(LLM_KV_ACTIVATION_SITU_LINEAR_BETA, 25.0f);
}

uint32_t gating_function(const plan & p) {
    return p.shape.gating ? p.shape.gating : p.arch == LLM_ARCH_DEEPSEEK4 ? 4 : 2;
}

void put_experts(key_writer & kv, const plan & p) {
    const model_shape & s = p.shape;
    const bool has_shared = p.arch != LLM_ARCH_GRANITE_MOE;
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

void put_hyper_connections(key_writer & kv, const plan & p) {
    kv.u32(LLM_KV_HYPER_CONNECTION_COUNT, 4);
    kv.f32(LLM_KV_HYPER_CONNECTION_EPSILON, 1e-6f);
    if (p.arch == LLM_ARCH_HY_V4) {
        kv.f32(LLM_KV_HYPER_CONNECTION_MAGNITUDE, 2.0f);
    } else if (p.arch == LLM_ARCH_QWEN4EXP) {
        kv.u32(LLM_KV_HYPER_CONNECTION_LOW_RANK, 8);
        kv.u32s(LLM_KV_ATTENTION_COMPRESS_RATIOS, std::vector<uint32_t>(p.n_block, 4));
    } else {
        kv.u32(LLM_KV_HYPER_CONNECTION_SINKHORN_ITERATIONS, 2);
    }
}

void put_deepseek4(key_writer & kv, const plan & p) {
    kv.u32(LLM_KV_ATTENTION_KEY_LENGTH, p.n_embd_head);
    kv.u32(LLM_KV_ATTENTION_VALUE_LENGTH, p.n_embd_head);
    kv.u32(LLM_KV_ROPE_DIMENSION_COUNT, p.n_embd_head / 2);
    kv.u32(LLM_KV_ATTENTION_OUTPUT_GROUP_COUNT, p.n_head);
    kv.u32(LLM_KV_ATTENTION_OUTPUT_LORA_RANK, 32);
    std::vector<uint32_t> ratios(p.n_block, 0);
    for (uint32_t il = 2; il < p.n_block; il++) {
        ratios[il] = il % 2 ? 128 : 4;
    }
    kv.u32s(LLM_KV_ATTENTION_COMPRESS_RATIOS, ratios);
    kv.f32(LLM_KV_ATTENTION_COMPRESS_ROPE_FREQ_BASE, 160000.0f);
    kv.u32(LLM_KV_HASH_LAYER_COUNT, p.shape.n_hash_layers);
}

// Qwen 4's n-gram embeddings: two n-gram orders of two heads each, looked up in layer 0.
void put_ngram_embeddings(key_writer & kv, const plan & p) {
    constexpr uint32_t n_gram = 3, n_heads_per_gram = 2, n_heads = (n_gram - 1) * n_heads_per_gram;
    std::vector<uint64_t> offsets(n_heads), sizes(n_heads, p.shape.n_vocab);
    for (uint32_t h = 0; h < n_heads; h++) {
        offsets[h] = static_cast<uint64_t>(h) * p.shape.n_vocab;
    }
    kv.u32s(LLM_KV_PLE_LAYERS, {0});
    kv.u32(LLM_KV_PLE_NGRAM_SIZE, n_gram);
    kv.u32(LLM_KV_PLE_HEADS_PER_NGRAM, n_heads_per_gram);
    kv.u32(LLM_KV_PLE_CONV_KERNEL, 4);
    kv.u32(LLM_KV_PLE_EOS_TOKEN_ID, token_eos);
    kv.u32(LLM_KV_EMBEDDING_LENGTH_PER_LAYER, p.shape.n_embd / n_heads);
    kv.u64s(LLM_KV_PLE_LAYER_MULTIPLIERS, {1, 3, 5});
    kv.u64s(LLM_KV_PLE_HEAD_OFFSETS, offsets);
    kv.u64s(LLM_KV_PLE_HEAD_VOCAB_SIZES, sizes);
}

void put_gemma4(key_writer & kv, const plan & p) {
    kv.u32(LLM_KV_EMBEDDING_LENGTH_PER_LAYER, 0);   // as the family's MoE member has it
    kv.u32(LLM_KV_ATTENTION_SHARED_KV_LAYERS, 0);
    kv.u32(LLM_KV_ATTENTION_KEY_LENGTH, p.n_embd_head);
    kv.u32(LLM_KV_ATTENTION_VALUE_LENGTH, p.n_embd_head);
    kv.u32(LLM_KV_ATTENTION_KEY_LENGTH_SWA, p.n_embd_head);
    kv.u32(LLM_KV_ATTENTION_VALUE_LENGTH_SWA, p.n_embd_head);
    kv.f32(LLM_KV_ROPE_FREQ_BASE_SWA, 10000.0f);
}

// An encoder: no logits, attention in both directions, every other layer a MoE.
void put_nomic_bert(key_writer & kv) {
    kv.u32(LLM_KV_TOKENIZER_TOKEN_TYPE_COUNT, 1);
    kv.u32(LLM_KV_MOE_EVERY_N_LAYERS, 2);
    kv.boolean(LLM_KV_ATTENTION_CAUSAL, false);
}

// Not a MoE, but multiplies by id: adapters that a token of the text switches on.
void put_granite_switch(key_writer & kv) {
    kv.u32(LLM_KV_ADAPTER_COUNT, 2);
    kv.u32(LLM_KV_ADAPTER_LORA_RANK, 8);
    kv.u32s(LLM_KV_ADAPTER_TOKEN_IDS_ACTIVATE, {'A', 'B'});
    kv.u32s(LLM_KV_ADAPTER_TOKEN_IDS_SUBSTITUTE, {'a', 'b'});
}

void put_particulars(key_writer & kv, const plan & p) {
    kv.u32(LLM_KV_LEADING_DENSE_BLOCK_COUNT, p.shape.n_expert > 0 ? 1 : p.n_block);
    if (p.shape.n_layer_nextn > 0) {
        kv.u32(LLM_KV_NEXTN_PREDICT_LAYERS, p.shape.n_layer_nextn);
    }
    if (has_mla(p.arch)) {
        put_mla(kv, p);
    }
    if (one_of(p.arch, {LLM_ARCH_QWEN4EXP, LLM_ARCH_HY_V4, LLM_ARCH_DEEPSEEK4})) {
        put_hyper_connections(kv, p);
    }
    switch (p.arch) {
        case LLM_ARCH_DEEPSEEK4:      put_deepseek4(kv, p); break;
        case LLM_ARCH_QWEN4EXP:       put_ngram_embeddings(kv, p); break;
        case LLM_ARCH_GEMMA4:         put_gemma4(kv, p); break;
        case LLM_ARCH_NOMIC_BERT_MOE: put_nomic_bert(kv); break;
        case LLM_ARCH_GRANITE_SWITCH: put_granite_switch(kv); break;
        default:                      break;
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
