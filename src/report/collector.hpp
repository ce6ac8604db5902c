#pragma once

#include <cstdint>
#include <vector>

#include "analysis/specialization.hpp"
#include "report/page_data.hpp"
#include "trace/source.hpp"

namespace moescope::report {

// Adds up one run for the page, ubatch by ubatch, so that a live view can go on where it stopped. Memory depends on the
// model's shape, never on the length of the trace.
class run_collector {
public:
    // max_pair_cells: pairs of experts over all blocks to keep co-selections of; runs with more keep none.
    explicit run_collector(uint64_t max_pair_cells) : max_pair_cells_(max_pair_cells) {}

    // The source's notes, which label its prompts: before the ubatches that they are about.
    void notes(const std::vector<std::string> & all);
    void add(const routed_ubatch & u);
    // Instead of rows, where the source holds only counts.
    void set_counts(const expert_counts & counts);

    uint64_t tokens() const { return tokens_; }
    uint64_t ubatches() const { return ubatches_; }
    uint64_t accesses() const;  // of slices, over all blocks

    // Fills blocks, cells, pairs and totals; label, source, model, tile and the rest are the caller's.
    page_run result() const;
    // The co-selections of one block (upper triangle); empty where they are not kept.
    std::vector<uint64_t> pairs_of(int32_t layer, int32_t block) const;

private:
    struct block_sums {
        block_layout          layout;
        uint64_t              rows = 0, rows_decoded = 0;
        uint64_t              rows_weighed = 0, rows_normed = 0;            // rows that came with these columns
        std::vector<uint64_t> count, count_decoded, accesses, last_ubatch;  // [n_expert]
        std::vector<uint64_t> count_weighed, count_normed;                  // [n_expert] selections with the column
        std::vector<double>   weight, norm, weight_norm;                    // [n_expert] sums
        std::vector<uint64_t> pairs;                                        // upper triangle
    };

    block_sums &        find(const block_layout & l, size_t hint);
    void                add_rows(block_sums & b, const block_rows & rows, const routed_ubatch & u);
    std::vector<size_t> order() const;  // of blocks_, by layer and block
    void                add_domains(page_run & run) const;

    uint64_t                 max_pair_cells_, pair_cells_ = 0;
    bool                     pairs_complete_ = true, counts_only_ = false;
    std::vector<block_sums>  blocks_;
    std::vector<uint32_t>    row_ids_;  // of the row at hand
    std::vector<uint64_t>    access_uses_;
    uint64_t                 tokens_ = 0, decoded_ = 0, ubatches_ = 0;
    bool                     labelled_ = false;
    analysis::specialization domains_;  // by the labels of the prompts, where there are any
};

// Where the pair (a, b), a < b < n, lies in an upper triangle without diagonal.
inline size_t triangle_index(size_t a, size_t b, size_t n) {
    return a * (2 * n - a - 1) / 2 + (b - a - 1);
}

// How evenly these counts are spread (DESIGN §5).
block_balance balance_of(const std::vector<uint64_t> & count);

}  // namespace moescope::report
