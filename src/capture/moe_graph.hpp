#pragma once

// Finds the MoE blocks in a graph by names and structure. Everything here only looks; nothing is changed. docs/capture.md
// lists the traps.

#include <cstdint>
#include <string_view>
#include <vector>

#include "capture/ggml_api.hpp"
#include "capture/mtp_layers.hpp"
#include "capture/residual_path.hpp"
#include "core/routing.hpp"

namespace moescope::capture {

// The nodes of one MoE block. Null where the graph has no such node. Shapes in ggml's order, n the block's rows.
struct moe_block {
    int32_t layer = -1;
    int32_t block = 0;

    ggml_tensor *       topk        = nullptr;  // [k, n] selected ids: a strided view of the argsort (trap 1), or given
    ggml_tensor *       ids         = nullptr;  // [k, n] executed ids: src[2] of the expert products (trap 8)
    ggml_tensor *       weights     = nullptr;  // [1, k, n] final gates: src[1] of ffn_moe_weighted (traps 3, 4)
    ggml_tensor *       weights_raw = nullptr;  // [1, k, n] ffn_moe_weights
    ggml_tensor *       logits      = nullptr;  // [n_expert, n]
    ggml_tensor *       probs       = nullptr;  // [n_expert, n]
    ggml_tensor *       probs_biased  = nullptr;  // [n_expert, n] what experts and groups are chosen by, if not probs
    ggml_tensor *       selection     = nullptr;  // [n_expert, n] what the argsort reads (trap 9)
    const ggml_tensor * group_topk    = nullptr;  // [n_group_used, n] the groups that were chosen first
    ggml_tensor *       expert_output = nullptr;  // [n_embd, k, n] (traps 3, 5)
    ggml_tensor *       gate_input    = nullptr;  // [n_embd, n] src[1] of the router's product (trap 10)
    const ggml_tensor * router        = nullptr;  // the router's weight
    const ggml_tensor * experts       = nullptr;  // a weight with one slice per expert: its ne[2] is n_expert
    const ggml_tensor * expert_input  = nullptr;  // src[1] of the first expert product
    residual_join       residual;

    int   weights_node = -1;     // index in the graph of the final weights' node (of what it views)
    int   output_node  = -1;     // … of expert_output
    int   raw_node     = -1;     // … of weights_raw
    bool  gated_output = false;  // the gate went into the input: outputs are already gated (trap 5)
    bool  own_softmax  = false;  // the selected go through a softmax of their own
    float weight_sum   = 0;      // what final weights add up to per row where normalised, else 0

    // The layout of a trace's rows of this block, for what is wanted and there. n_extra: selected for the runner-up's sake.
    block_layout layout(column_set wanted, mtp_layers mtp, uint32_t n_extra) const;
};

struct moe_graph {
    std::vector<moe_block>     blocks;            // in execution order
    ggml_tensor *              tokens = nullptr;  // inp_tokens [n_tokens], null when the graph does not compute from it
    ggml_tensor *              pos    = nullptr;  // inp_pos [n_tokens or 4 n_tokens], null in models without RoPE
    ggml_tensor *              out_ids = nullptr;  // out_ids [n_outputs]: tokens whose logits are asked for
    std::vector<ggml_tensor *> inputs;             // every tensor with GGML_TENSOR_FLAG_INPUT
    int64_t                    n_tokens = 0;       // of the ubatch; 0 when unknown
};

// blk.<il>.ffn_{up,gate,down,gate_up}_{exps,chexps}.weight: one slice per expert. Other weights that are chosen by id
// (Granite's adapter switch, LoRA factors) are not experts (trap 11).
bool is_expert_weight(const ggml_tensor * w);

// Whether t looks the ubatch's tokens up in an embedding table (they are its src[1]). Most graphs name that input
// inp_tokens; MTP graphs do not name it.
bool is_token_lookup(const ggml_api & api, const ggml_tensor * t);

// Whether a node named ffn_moe_weighted is the product with the gates, [1, k, n]. In llama.cpp of April to July 2025 the
// name was by mistake on the product of gate and up projections.
bool is_gated_product(const ggml_api & api, const ggml_tensor * t);

// The input that lists the tokens whose logits are asked for; its name depends on the version.
bool is_out_ids(std::string_view name);

// llama.cpp gave that list no name between March 2025 and early 2026. There it is the one input without a name by which a graph
// picks among rows that it computed for its n_tokens tokens: this is whether t does so. (Other lookups by an input are in
// weights or in what the context keeps, neither of which a graph computes.)
bool picks_outputs_by_unnamed_list(const ggml_api & api, const ggml_tensor * t, int64_t n_tokens);

// From a router's scores back to its matrix product, over the bias, LoRA's sums and a choice of rows (trap 10);
// null where t is no router's.
const ggml_tensor * router_product(const ggml_api & api, const ggml_tensor * t);

// nodes: the graph's nodes in execution order, before the scheduler has split it.
moe_graph find_moe(const ggml_api & api, ggml_tensor ** nodes, int n_nodes);

}  // namespace moescope::capture
