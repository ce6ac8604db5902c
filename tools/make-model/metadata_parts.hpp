#pragma once

#include "llama-arch.h"  // private to llama.cpp: its own list of architectures and of key names
#include "make-model/layout.hpp"
#include "make-model/shape.hpp"

#include <initializer_list>

// Shared by the files that write hyper-parameters: metadata.cpp (what every language model has) and
// metadata_families.cpp (what some families have besides).

namespace moescope::make_model {

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
    uint32_t            n_block;  // with the nextn blocks
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

bool one_of(llm_arch arch, std::initializer_list<llm_arch> list);
bool has_mla(llm_arch arch);                             // multi-head latent attention as DeepSeek 2 has it
bool has_recurrent_layers_by_head_count(llm_arch arch);  // head_count = 0 marks a layer without attention
bool has_swa_array(llm_arch arch);                       // sliding-window pattern per layer, not as a period
bool has_mrope(llm_arch arch);                           // positions of several dimensions

void put_indexer(key_writer & kv, const plan & p);      // sparse attention
void put_recurrence(key_writer & kv, const plan & p);   // state space, delta net, short convolution
void put_particulars(key_writer & kv, const plan & p);  // what one architecture alone wants

}  // namespace moescope::make_model
