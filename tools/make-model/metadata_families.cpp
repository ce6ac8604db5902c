#include "make-model/metadata_parts.hpp"

#include "make-model/tokenizer.hpp"

#include <algorithm>

namespace moescope::make_model {
namespace {

// Gated delta net with 128-wide states.
bool has_delta_net(llm_arch arch) {
    return one_of(arch, {LLM_ARCH_QWEN3NEXT, LLM_ARCH_QWEN35, LLM_ARCH_QWEN35MOE, LLM_ARCH_QWEN4EXP});
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
    constexpr uint32_t    n_gram = 3, n_heads_per_gram = 2, n_heads = (n_gram - 1) * n_heads_per_gram;
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
    kv.u32(LLM_KV_EMBEDDING_LENGTH_PER_LAYER, 0);  // as the family's MoE member has it
    kv.u32(LLM_KV_ATTENTION_SHARED_KV_LAYERS, 0);
    kv.u32(LLM_KV_ATTENTION_KEY_LENGTH, p.n_embd_head);
    kv.u32(LLM_KV_ATTENTION_VALUE_LENGTH, p.n_embd_head);
    kv.u32(LLM_KV_ATTENTION_KEY_LENGTH_SWA, p.n_embd_head);
    kv.u32(LLM_KV_ATTENTION_VALUE_LENGTH_SWA, p.n_embd_head);
    kv.f32(LLM_KV_ROPE_FREQ_BASE_SWA, 10000.0f);
}

// An encoder: no logits, attention in both directions, every other layer an MoE.
void put_nomic_bert(key_writer & kv) {
    kv.u32(LLM_KV_TOKENIZER_TOKEN_TYPE_COUNT, 1);
    kv.u32(LLM_KV_MOE_EVERY_N_LAYERS, 2);
    kv.boolean(LLM_KV_ATTENTION_CAUSAL, false);
}

// Not an MoE, but multiplies by id: adapters that a token of the text switches on.
void put_granite_switch(key_writer & kv) {
    kv.u32(LLM_KV_ADAPTER_COUNT, 2);
    kv.u32(LLM_KV_ADAPTER_LORA_RANK, 8);
    kv.u32s(LLM_KV_ADAPTER_TOKEN_IDS_ACTIVATE, {'A', 'B'});
    kv.u32s(LLM_KV_ADAPTER_TOKEN_IDS_SUBSTITUTE, {'a', 'b'});
}

}  // namespace

bool one_of(llm_arch arch, std::initializer_list<llm_arch> list) {
    return std::find(list.begin(), list.end(), arch) != list.end();
}

// Multi-head latent attention as DeepSeek 2 has it.
bool has_mla(llm_arch arch) {
    return one_of(arch,
                  {LLM_ARCH_DEEPSEEK2, LLM_ARCH_DEEPSEEK32, LLM_ARCH_GLM_DSA, LLM_ARCH_DOTS3NOTE, LLM_ARCH_KIMI_LINEAR,
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

// Positions of several dimensions; others that know the key read it as "this is the vision model of the family".
bool has_mrope(llm_arch arch) {
    return one_of(arch, {LLM_ARCH_QWEN2VL, LLM_ARCH_QWEN3VL, LLM_ARCH_QWEN3VLMOE, LLM_ARCH_QWEN35, LLM_ARCH_QWEN35MOE,
                         LLM_ARCH_QWEN4EXP, LLM_ARCH_QWEN3TTS, LLM_ARCH_PADDLEOCR});
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
        case LLM_ARCH_DEEPSEEK4: put_deepseek4(kv, p); break;
        case LLM_ARCH_QWEN4EXP: put_ngram_embeddings(kv, p); break;
        case LLM_ARCH_GEMMA4: put_gemma4(kv, p); break;
        case LLM_ARCH_NOMIC_BERT_MOE: put_nomic_bert(kv); break;
        case LLM_ARCH_GRANITE_SWITCH: put_granite_switch(kv); break;
        default: break;
    }
}

}  // namespace moescope::make_model
