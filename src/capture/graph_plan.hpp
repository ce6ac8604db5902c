#pragma once

#include <string>
#include <vector>

#include "capture/block_finder.hpp"
#include "capture/capture_options.hpp"
#include "capture/extra_gate.hpp"
#include "capture/graph_edit.hpp"
#include "capture/moe_graph.hpp"
#include "capture/mtp_layers.hpp"
#include "capture/scheduler_backends.hpp"

namespace moescope::capture {

// Which tensors of a graph will be read when it is computed. Valid while the graph lives.
struct planned_graph {
    struct block {
        block_layout  layout;
        ggml_tensor * ids                      = nullptr;
        ggml_tensor * columns[n_float_columns] = {};     // by position in float_columns; null where absent
        bool          squared_norms            = false;  // the norms column holds squares
        uint32_t      n_extra                  = 0;      // selected behind the k of the layout: 1 for the runner-up
    };
    std::vector<block>  blocks;                                                // in execution order
    ggml_tensor *       tokens = nullptr, *pos = nullptr, *out_ids = nullptr;  // inputs, as in moe_graph
    int64_t             n_tokens     = 0;
    const ggml_tensor * first_router = nullptr;  // the weight of the first block's router; null when there is none
    access_list         weight_reads;            // empty unless access was asked for

    void clear();  // keeps the memory
};

// Prepares one scheduler's graphs, each before its memory is planned: finds the MoE blocks, marks what shall survive the
// computation, and adds nodes for what the graph itself does not compute.
//
// On a CPU-only scheduler wanted tensors, and all graph inputs, are marked as outputs, so that nothing is placed over
// them. On other devices only copies are marked (marking ids or gates would switch off the backends' top-k fusion): `ggml_cont`
// of ids and final weights. Norms are one custom operation on the CPU, sum_rows(sqr(x)) on other devices.
class graph_plan {
public:
    graph_plan(const ggml_api & api, ggml_backend_sched_t sched, capture_options options);

    // Whether nothing but the CPU computes.
    bool cpu_only() const { return backends_.cpu_only(); }
    // Whether nodes that run code of ours can be added; else only ggml's own operations can.
    bool own_nodes() const { return cpu_only() && api_.ggml_custom_4d != nullptr; }

    void prepare(ggml_cgraph * graph, mtp_layers mtp);

    // Of the latest graph; without blocks where there is nothing to read.
    planned_graph & planned() { return planned_; }
    // Whether the latest graph has MoE blocks, but none in the layers that are asked for.
    bool left_all_out() const { return left_all_out_; }
    // Why nothing can be recorded here, or "".
    const std::string & failure() const { return failure_; }

private:
    // Whether the model was loaded with one expert more than it uses.
    uint32_t n_extra() const { return options_.what.columns.has(column::runner_up) ? 1 : 0; }

    moe_graph            find(ggml_cgraph * graph);
    void                 leave_out_unwanted(moe_graph & found);
    bool                 unwanted(int32_t il) const { return il >= 0 && !options_.layers.has(il); }
    access_list          wanted_reads(ggml_cgraph * graph, const moe_graph & found) const;
    void                 plan_all(const moe_graph & found, mtp_layers mtp, graph_edit & edit);
    planned_graph::block plan_block(const moe_block & b, mtp_layers mtp, graph_edit & edit);
    ggml_tensor *        keep(ggml_tensor * t) const;
    ggml_tensor *        copy_of(ggml_tensor * t, const moe_block & b, const char * what, graph_edit & edit);
    ggml_tensor *        norms_of(const moe_block & b, graph_edit & edit);
    ggml_tensor *        gram_of(const moe_block & b, graph_edit & edit);
    ggml_tensor *        peaks_of(const moe_block & b, graph_edit & edit);
    ggml_tensor * custom(int64_t ne0, int64_t ne1, std::vector<ggml_tensor *> of, ggml_custom_op_t op, void * data);
    ggml_tensor * named(ggml_tensor * t, const char * what, const moe_block & b) const;

    const ggml_api &         api_;
    ggml_backend_sched_t     sched_;
    const capture_options    options_;
    const scheduler_backends backends_;
    extra_gates              extra_;

    block_finder  finder_;
    added_nodes   added_;  // to the current graph
    planned_graph planned_;
    bool          left_all_out_ = false;
    std::string   failure_;
};

}  // namespace moescope::capture
