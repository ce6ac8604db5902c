#pragma once

#include <memory>
#include <string>
#include <vector>

#include "capture/capture_options.hpp"
#include "capture/host_callback.hpp"
#include "capture/moe_graph.hpp"
#include "capture/tensor_view.hpp"
#include "core/ubatch_buffer.hpp"

namespace moescope::capture {

// Watches one scheduler. The hooks call it around the scheduler's own functions:
//
//     reserve:  plan(graph)                        the memory plan must know what shall survive
//     alloc:    plan(graph), real, bind()          where the values will lie
//     compute:  read_inputs(), real, computed()    inputs are overwritten before any later hook
//     then:     collect()                          at once on the CPU, else after the next synchronize
//
// On a CPU-only scheduler wanted tensors, and all graph inputs, are marked as outputs, so that nothing is placed over
// them. Elsewhere only copies are marked (marking ids or gates would switch off the backends' top-k fusion): `ggml_cont`
// of ids and final weights. Norms are one custom operation on the CPU, sum_rows(sqr(x)) elsewhere.
class probe {
public:
    probe(const ggml_api & api, ggml_backend_sched_t sched, capture_options options);
    ~probe();
    probe(const probe &)             = delete;
    probe & operator=(const probe &) = delete;

    // MTP blocks begin at this layer; 0: unknown.
    void set_n_layer(uint32_t n_layer) { n_layer_ = n_layer; }

    void plan(ggml_cgraph * graph);
    void bind();
    void read_inputs();
    void computed(bool success);

    bool has_moe() const { return !bound_.empty(); }
    bool pending() const { return pending_; }
    // Whether values can be read as soon as compute returns; otherwise the scheduler must be synchronized first.
    bool synchronous() const { return cpu_only_; }
    // Reads what was computed; only when pending(). Valid until the next collect().
    ubatch_buffer & collect();
    // Forgets what is pending: its compute failed, or its memory is gone.
    void drop() { pending_ = false; }

    // The program's own eval callback, or null; a graph that it stops counts as not computed. Not owned: the scheduler calls it
    // for as long as it lives itself.
    void            set_host(host_callback * h) { host_ = h; }
    host_callback * host() const { return host_; }
    bool            stopped_by_host() const { return host_ != nullptr && host_->stopped(); }

    // The weights the bound graph reads; empty unless access was asked for.
    const access_list & weight_reads() const { return weight_reads_; }
    // An address inside the first router's weights, to find the model's file by; null when there is none.
    const void * weight_address() const { return weight_address_; }
    // Why nothing can be recorded here, or "".
    const std::string & failure() const { return failure_; }

private:
    // One block of the planned graph: which tensors will be read.
    struct planned {
        moe_block     block;
        block_layout  layout;
        ggml_tensor * ids                      = nullptr;
        ggml_tensor * columns[n_float_columns] = {};
        bool          squared_norms            = false;  // the norms column holds squares
    };
    // The same after allocation: where they lie.
    struct bound {
        block_layout layout;
        tensor_view  ids;
        tensor_view  columns[n_float_columns];
        bool         squared_norms = false;
    };
    struct insertion {
        int           behind;  // index of the node it follows
        ggml_tensor * node;
    };

    bool           refuses(const std::string & wrong);
    void           look_at_backends();
    planned        plan_block(const moe_block & b, std::vector<insertion> & added);
    ggml_tensor *  keep(ggml_tensor * t);
    ggml_tensor *  copy_of(ggml_tensor * t, const moe_block & b, const char * what, std::vector<insertion> & added);
    ggml_tensor *  norms_of(const moe_block & b, planned & p, std::vector<insertion> & added);
    void           insert(ggml_cgraph * graph, std::vector<insertion> & added);
    ggml_backend_t backend_of_weight(const ggml_tensor * w) const;
    void           fill_rows(const bound & b);

    const ggml_api &     api_;
    ggml_backend_sched_t sched_;
    capture_options      options_;
    uint32_t             n_layer_ = 0;

    bool                        cpu_only_ = false;
    ggml_backend_t              cpu_      = nullptr;
    std::vector<ggml_backend_t> backends_;

    ggml_context *       ctx_ = nullptr;  // holds the nodes that are added to the current graph
    moe_graph            graph_;
    std::vector<planned> planned_;
    std::vector<bound>   bound_;
    graph_layout         layout_;
    tensor_view          tokens_at_, pos_at_, out_ids_at_;
    access_list          weight_reads_;
    const void *         weight_address_ = nullptr;

    std::vector<int32_t> tokens_, pos_, out_ids_;  // of the ubatch being computed
    ubatch_buffer        read_;                    // reused, so that steady work allocates nothing
    std::vector<uint8_t> scratch_;
    std::vector<float>   all_rows_;
    host_callback *      host_         = nullptr;
    bool                 pending_      = false;
    bool                 nodes_tested_ = false, blocks_tested_ = false;  // once: it holds for all graphs
    std::string          failure_;
};

}  // namespace moescope::capture
