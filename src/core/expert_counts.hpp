#pragma once

#include <cstdint>
#include <vector>

#include "core/routing.hpp"

namespace moescope {

// Selections per expert, cumulative: what `--counts-only` keeps instead of rows, and what a summary needs.
struct expert_counts {
    struct block {
        uint64_t              rows         = 0;
        uint64_t              rows_decoded = 0;  // of them, rows of decoded tokens
        std::vector<uint64_t> count;             // [n_expert] selections; sums to k * rows
    };

    graph_layout       layout;
    std::vector<block> blocks;  // parallel to layout
    uint64_t           tokens   = 0;
    uint64_t           decoded  = 0;  // of them, decoded rather than prefilled
    uint64_t           ubatches = 0;

    // Adds a ubatch. Blocks are matched by (layer, block), so graphs of different layouts add up.
    void add(const routed_ubatch & u);
    // Takes tokens of a ubatch that was added, and their rows, out again.
    void subtract(const routed_ubatch & u);
    // Adds another stretch of the same model.
    void add(const expert_counts & other);

private:
    void    count(const routed_ubatch & u, uint64_t by);  // by: 1, or -1 modulo 2^64
    block & find(const block_layout & l, size_t hint);
};

}  // namespace moescope
