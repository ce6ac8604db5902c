#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/tools/model_sizes.hpp"
#include "core/routing.hpp"
#include "trace/source.hpp"

namespace moescope::analysis {

// Everything that a run read of one weight tensor, or of one expert's slice of it.
struct weight_reads {
    std::string tensor;
    int32_t     layer   = -1;
    int32_t     expert  = -1;     // -1: not a slice
    uint64_t    reads   = 0;      // ubatches that read it: one access each, however many rows or nodes use it
    uint64_t    rows    = 0;      // selections of a slice; tokens of those ubatches otherwise
    bool        by_rows = false;  // a lookup: only the rows of those tokens were read
    bool        known   = false;  // the model has this tensor; otherwise bytes is 0
    uint64_t    bytes   = 0;      // of all reads together
};

struct access_result {
    std::vector<weight_reads> slices;   // of experts, by falling bytes
    std::vector<weight_reads> tensors;  // the others, by falling bytes
    uint64_t                  ubatches = 0, tokens = 0;
    uint64_t                  bytes_slices = 0, bytes_tensors = 0;
    uint64_t                  n_unknown  = 0;  // tensors that the model file does not have
    uint64_t                  n_unlisted = 0;  // ubatches without an access list: not in any number here
    uint64_t                  n_unchosen = 0;  // reads by ids that were not recorded: not in any number here
    uint64_t                  bytes() const { return bytes_slices + bytes_tensors; }
};

// Adds up what a trace's steps read (one access is one ubatch reading a slice). A tensor that one ubatch reads in
// several nodes is read once; a tied embedding, looked up and multiplied, counts as read whole.
class access_totals final : public routing_sink {
public:
    // source: the one that is read, for its access lists. Throws error where it has none.
    access_totals(const trace::trace_source & source, weight_sizes sizes);

    void          ubatch(const routed_ubatch & u) override;
    access_result result() const;

private:
    struct slice_counts {
        std::vector<uint64_t> reads, rows;  // [n_expert]
    };
    struct graph_counts {  // of the ubatches with one access list
        uint64_t                  ubatches = 0, tokens = 0;
        std::vector<slice_counts> blocks;  // parallel to the layout of its graphs
    };

    const trace::trace_source & source_;
    weight_sizes                sizes_;
    std::vector<graph_counts>   graphs_;     // by number of the access list, 0: without one
    std::vector<uint64_t>       last_seen_;  // [n_expert] the latest block that counted the expert
    uint64_t                    n_blocks_ = 0;
};

}  // namespace moescope::analysis
