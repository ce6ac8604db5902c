#pragma once

#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/ubatch_buffer.hpp"
#include "logs/foreign_line.hpp"
#include "trace/source.hpp"

namespace moescope::logs {

// A log that another program wrote, as ubatches: the expert selection log as text or as CSV, layer_id,expert_ids rows,
// gate_input,layer_id,token_id,values rows, and any of them mixed. docs/logs.md tells what is taken from each.
//
// The file is read twice: once for what its lines add up to (experts, k, what is malformed), once more by next().
// Memory is bounded by the largest ubatch. A ubatch ends where a layer comes again after others, or where a layer's rows
// begin again at 0.
class foreign_log final : public trace::trace_source {
public:
    // Throws error when the file cannot be read or no line of it is understood.
    explicit foreign_log(const std::string & path);

    const trace::trace_info & info() const override { return info_; }
    const model_info &        model() const override { return model_; }
    graph_layout              blocks() const override;
    bool                      next(routed_ubatch & u) override;
    void                      rewind() override;

private:
    // The rows of one layer's block in the ubatch at hand, kind by kind.
    struct row {
        int64_t token;  // position or row in its batch, -1 unknown
        int32_t sequence;
        bool    operator==(const row & o) const { return token == o.token && sequence == o.sequence; }
    };
    struct table {
        std::vector<row>   rows;
        std::vector<float> values;  // [rows][width]
    };
    struct pending_block : block_id {
        explicit pending_block(const block_id & which) : block_id(which) {}
        table                    ids, weights, logits, probs, gate;
        std::vector<uint32_t>    id_values;  // [ids.rows][k]
        const std::vector<row> & rows() const { return ids.rows.empty() ? gate.rows : ids.rows; }
        const table *            table_of(column c) const {  // null: the logs have no such column
            switch (c) {
                           case column::weights: return &weights;
                           case column::logits: return &logits;
                           case column::probs: return &probs;
                           case column::gate_input: return &gate;
                           default: return nullptr;
            }
        }
    };
    // What all lines of a block have in common.
    struct shape {
        uint32_t   k = 0, n_embd = 0;
        column_set columns;
    };
    bool            read_group();  // fills pending_; false at the end of the file
    bool            begins_ubatch(const foreign_line & l) const;
    void            take(foreign_line & l);
    pending_block & block_of(const block_id & id);
    void            add_ids(pending_block & b, const foreign_line & l);
    void add_values(table & t, uint32_t & width, column column, const pending_block & b, const foreign_line & l);
    void malformed(const std::string & why);
    void describe();

    void    split_gate();
    void    build();
    void    build_block(const pending_block & b);
    void    copy_rows(const pending_block & b, column c, const std::vector<size_t> & places);
    void    number_tokens();
    uint8_t phase_of_ubatch();

    static std::vector<size_t> places_of(const pending_block & b, column c);

    std::string       path_;
    std::ifstream     in_;
    trace::trace_info info_;
    model_info        model_;

    std::map<block_id, shape> shapes_;
    uint32_t                  n_expert_ = 0, largest_id_ = 0;
    bool                      has_ids_ = false, has_shape_line_ = false;
    uint64_t                  n_rows_ = 0, n_malformed_ = 0;
    std::string               first_malformed_;
    uint32_t                  kinds_      = 0;  // bit per foreign_line::kind
    bool                      first_pass_ = true;

    // the reading position
    uint64_t                   line_number_ = 0, ubatch_ = 0;
    foreign_line               line_;  // the first line of the next group, where there is one
    bool                       has_line_  = false;
    bool                       in_prompt_ = false;
    foreign_line               section_;           // the latest of the text log
    uint64_t                   prompt_left_  = 0;  // tokens of the prompt that are still to come, as the log says
    bool                       knows_prompt_ = false;
    std::vector<pending_block> pending_;             // the ubatch at hand
    std::vector<pending_block> later_;               // its gate inputs, where they do not fit its selections
    bool                       positional_ = false;  // its tokens are positions rather than rows

    std::vector<row> tokens_;  // of the ubatch
    ubatch_buffer    built_;   // what next() hands out
};

}  // namespace moescope::logs
