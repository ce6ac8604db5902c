#pragma once

#include "gguf/header.hpp"
#include "gguf/moe_shape.hpp"
#include "gguf/tensor_name.hpp"

namespace moescope::gguf {

// How a tensor depends on the experts of its layer.
enum class expert_part {
    none,          // not at all (shared experts, the router's own scale, everything outside the MoE)
    matrix,        // one weight matrix per expert
    chunk_matrix,  // one weight matrix per chunk of experts (GroveMoE's adjugate experts)
    router,        // one row of the router per expert
    value,         // one number or row per expert: biases, scales, the selection bias
    hash_table,    // expert ids as values, one row per token id (hash-routed layers)
    unknown,       // looks as if it had an expert dimension, but is not a tensor that llama.cpp knows as one
};

struct expert_layout {
    expert_part part   = expert_part::none;
    int         axis   = 0;  // the expert dimension, the last one longer than 1; ne[axis] slabs of equal size
    int64_t     n_slab = 0;  // ne[axis]: n_expert, or n_expert / experts_per_chunk
};

// Decided by name, and checked against the shape. A bare size of n_expert proves nothing (Qwen3-30B has 128 experts
// and 128 entries in attn_q_norm). Tensors that have an expert's name but another shape are `unknown`.
expert_layout find_expert_layout(const tensor_info & t, const tensor_name & name, const moe_shape & shape);

}  // namespace moescope::gguf
