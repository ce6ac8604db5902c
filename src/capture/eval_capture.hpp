#pragma once

#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "capture/capture_options.hpp"
#include "capture/ggml_api.hpp"
#include "capture/moe_graph.hpp"
#include "capture/node_values.hpp"
#include "core/ubatch_buffer.hpp"

namespace moescope::capture {

// The second way in: ggml's eval callback, for one context. It sees the nodes one by one, before the scheduler computes
// them (ask) and, where it said yes, after. Nothing is shared with the probes but the vocabulary: each checks the other.
//
// Where a graph ends can only be told by whoever sees its compute (end()), or when the next graph begins.
class eval_capture {
public:
    using on_ubatch = std::function<void(const eval_capture & from, ubatch_buffer & u)>;

    eval_capture(const ggml_api & api, capture_options options, on_ubatch deliver);

    // Of the model whose graphs these are, as soon as it is known.
    void set_mtp_layers(mtp_layers mtp) { mtp_ = mtp; }

    // ggml_backend_sched_eval_callback; user_data is the eval_capture. Never throws, never cancels the graph.
    static bool eval(ggml_tensor * t, bool ask, void * user_data);

    void end(bool success);  // the graph has been computed, or has failed

    // The weights that the delivered graph reads; empty unless access was asked for.
    const access_list & weight_reads() const { return reads_; }
    // An address inside a router's weights, to find the model's file by; null before the first.
    const void * weight_address() const { return weight_address_; }

    // The eval_capture that the calling thread's current graph goes to, if any; forgets it. For who sees the compute end.
    static eval_capture * take_current();

private:
    // The values of one block, as they came by.
    struct seen_block {
        block_layout         layout;
        int64_t              n_rows   = 0;
        const ggml_tensor *  executed = nullptr;  // the node of its ids, src[2] of its expert products
        std::vector<int32_t> ids;
        std::vector<float>   columns[n_float_columns];
    };
    // Scores of a layer, which come before its top-k.
    struct scores {
        int32_t            il = -1;
        std::vector<float> logits, probs, selection, gate_input;
        int64_t            n_expert = 0, n_embd = 0;
    };

    bool         asked(ggml_tensor * t);
    bool         wanted(const ggml_tensor * t);
    void         observed(ggml_tensor * t);
    void         observe_scores(ggml_tensor * t, int32_t il);
    void         open_block(ggml_tensor * topk, int32_t il);
    void         observe_in_block(ggml_tensor * t, std::string_view what);
    bool         begins_new_graph(const ggml_tensor * t) const;
    void         read_inputs(ggml_tensor * t);
    bool         picks_outputs(const ggml_tensor * t) const;
    void         take_weight_read(const ggml_tensor * t);
    void         deliver();
    block_layout lay_out(const seen_block & b) const;
    void         fill_block(ubatch_buffer & u, const seen_block & b) const;
    void         pick_rows(ubatch_buffer & u, const std::vector<float> & of_all_tokens, uint32_t n_rows, size_t width,
                           float * to) const;
    void         start_over();
    scores &     scores_of(int32_t il);

    const ggml_api & api_;
    capture_options  options_;
    on_ubatch        deliver_;
    mtp_layers       mtp_;
    node_values      values_;

    std::vector<int32_t>                    tokens_, pos_, out_ids_;
    int64_t                                 n_tokens_ = 0;
    std::vector<seen_block>                 blocks_;
    bool                                    in_block_ = false;
    access_list                             reads_;
    const void *                            weight_address_ = nullptr;
    scores                                  scores_;
    std::unordered_set<const ggml_tensor *> asked_;  // nodes of the current graph
};

}  // namespace moescope::capture
