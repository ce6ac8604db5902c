#pragma once

#include <cstdint>
#include <vector>

#include "core/routing.hpp"

namespace moescope {

// Owns the values of one captured ubatch. Reused from ubatch to ubatch, so that steady work allocates nothing; may be
// copied where one has to wait (warm-up).
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

    // Opens the rows of layout[i]; blocks are opened in order. Then fill the columns through the pointers.
    void      add_block(uint32_t n_rows, bool with_row_tokens);
    int32_t * row_tokens();  // of the last block
    void *    ids();
    float *   values(size_t float_column);  // null when the layout lacks it

    size_t bytes() const { return bytes_.size(); }

    // Views into this buffer, valid until it changes. The ubatch's own views (token, …) included.
    routed_ubatch view();

private:
    struct block {
        uint32_t n_rows       = 0;
        bool     has_tokens   = false;
        size_t   row_token_at = 0, ids_at = 0;
        size_t   column_at[n_float_columns] = {};
    };

    std::vector<block>      blocks_;
    std::vector<uint8_t>    bytes_;
    std::vector<block_rows> views_;
};

}  // namespace moescope
