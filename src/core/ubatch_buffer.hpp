#pragma once

#include <cstdint>
#include <vector>

#include "core/routing.hpp"

namespace moescope {

// Owns what a routed_ubatch views. Reused from ubatch to ubatch, so that steady work allocates nothing; may be copied
// where one has to wait (warm-up).
//
//     b.set_tokens(n);               then fill token, pos, seq, phases
//     b.layout.push_back(…);         for each block: its layout,
//     b.add_block(n_rows, false);    its rows,
//     b.set_id(i, id); …             and what is in them
//     sink.ubatch(b.view());
class ubatch_buffer {
public:
    std::vector<int32_t> token, pos, seq;  // [n_tokens], -1 unknown
    std::vector<uint8_t> phases;           // [n_tokens]
    graph_layout         layout;
    uint32_t             batch   = 0;
    uint32_t             access  = 0;
    uint64_t             time_ns = 0;

    void clear();
    void set_tokens(size_t n_tokens);  // sizes the columns, all unknown

    // Opens the rows of layout[i], all 0; blocks are opened in order. Then fill the columns through the pointers, which
    // are good until the next block is opened.
    void      add_block(uint32_t n_rows, bool with_row_tokens);
    int32_t * row_tokens() { return row_tokens(blocks_.size() - 1); }
    void *    ids() { return ids(blocks_.size() - 1); }
    float *   values(size_t float_column) { return values(blocks_.size() - 1, float_column); }
    void      set_id(size_t i, uint32_t id);  // i = row * k + rank, of the block opened last

    // The same of any open block.
    int32_t * row_tokens(size_t block);                   // [n_rows], of a block opened with_row_tokens
    void *    ids(size_t block);                          // [n_rows][k] of id_bytes() each
    float *   values(size_t block, size_t float_column);  // [n_rows][width], null when its layout lacks the column

    size_t bytes() const { return bytes_.size(); }

    // Views into this buffer, valid until it changes. The ubatch's own views (token, …) included.
    routed_ubatch view();

private:
    struct open_block {
        uint32_t n_rows       = 0;
        bool     has_tokens   = false;
        size_t   row_token_at = 0, ids_at = 0;
        size_t   column_at[n_float_columns] = {};
    };

    std::vector<open_block> blocks_;
    std::vector<uint8_t>    bytes_;
    std::vector<block_rows> views_;
};

}  // namespace moescope
