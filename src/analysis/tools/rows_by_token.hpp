#pragma once

#include <cstdint>
#include <vector>

#include "core/routing.hpp"

namespace moescope::analysis {

// [n_tokens] the row that a block computed for each token of the ubatch, -1: none.
inline void rows_by_token(const block_rows & rows, uint32_t n_tokens, std::vector<int64_t> & row_of_token) {
    row_of_token.assign(n_tokens, -1);
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        if (const int32_t t = rows.token_of(r); t >= 0) {
            row_of_token[static_cast<size_t>(t)] = r;
        }
    }
}

}  // namespace moescope::analysis
