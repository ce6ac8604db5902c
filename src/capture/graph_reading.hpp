#pragma once

#include <vector>

#include "capture/graph_plan.hpp"
#include "capture/tensor_view.hpp"
#include "core/ubatch_buffer.hpp"

namespace moescope::capture {

// Reads what a planned graph computes, as often as it is computed. Knows where the values lie, but none of the graph's nodes:
// llama.cpp may have freed them when the values are read. Steady work allocates nothing.
class graph_reading {
public:
    // Once the graph is allocated. Takes what it needs out of g and leaves it empty.
    void bind(const ggml_api & api, planned_graph & g);
    // Nothing of the graph stays: its values may be overwritten from here on.
    void clear();
    bool empty() const { return blocks_.empty(); }

    void read_inputs();  // before the computation, which may overwrite them
    // What was computed. Valid until the next collect().
    ubatch_buffer & collect();

    // The weights that the graph reads; empty unless access was asked for.
    const access_list & weight_reads() const { return weight_reads_; }
    // An address inside the first router's weights, to find the model's file by; null when there is none.
    const void * weight_address() const { return weight_address_; }

private:
    // As in planned_graph, after allocation: where the values lie.
    struct block {
        block_layout layout;
        tensor_view  ids;
        tensor_view  columns[n_float_columns];
        tensor_view  runner_up_id;
        bool         squared_norms = false;
    };

    static void bind_selected(const ggml_api & api, const planned_graph::block & p, block & b);

    void fill_block(const block & b);
    void name_rows(uint32_t n_rows);
    bool rows_known(uint32_t n_rows);
    void fill_column(const block & b, size_t i, uint32_t n_rows, float * to);
    void fill_runner_up(const block & b, uint32_t n_rows, float * to);
    void pick_rows(const tensor_view & of_all_tokens, uint32_t n_rows, size_t width, float * to);

    graph_layout       layout_;
    std::vector<block> blocks_;  // parallel to layout_
    tensor_view        tokens_at_, pos_at_, out_ids_at_;
    int64_t            n_tokens_ = 0;
    access_list        weight_reads_;
    const void *       weight_address_ = nullptr;

    std::vector<int32_t> tokens_, pos_, out_ids_;  // of the ubatch being computed
    ubatch_buffer        read_;
    std::vector<uint8_t> scratch_;
    std::vector<float>   all_rows_;
    std::vector<int32_t> next_ids_;
};

}  // namespace moescope::capture
