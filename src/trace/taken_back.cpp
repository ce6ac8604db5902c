#include "trace/taken_back.hpp"

#include <algorithm>

namespace moescope::trace {

namespace {

// The rows of one block whose tokens have a place.
void keep_rows(const block_rows & rows, const std::vector<int32_t> & place, unknown_rows unknown,
               ubatch_buffer & kept) {
    std::vector<uint32_t> chosen;
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        const int32_t t = rows.token_of(r);
        if (t < 0 ? unknown == unknown_rows::stay : place[static_cast<size_t>(t)] >= 0) {
            chosen.push_back(r);
        }
    }
    const bool           named    = !rows.row_token.empty();
    const block_layout & l        = *rows.layout;
    const size_t         id_bytes = size_t{l.id_bytes()} * l.n_expert_used;
    kept.add_block(static_cast<uint32_t>(chosen.size()), named);
    const auto * ids    = static_cast<const uint8_t *>(rows.ids);
    auto *       to_ids = static_cast<uint8_t *>(kept.ids());
    for (size_t i = 0; i < chosen.size(); ++i) {
        if (named) {
            const int32_t t      = rows.token_of(chosen[i]);
            kept.row_tokens()[i] = t < 0 ? t : place[static_cast<size_t>(t)];
        }
        std::copy_n(ids + chosen[i] * id_bytes, id_bytes, to_ids + i * id_bytes);
    }
    for (size_t c = 0; c < n_float_columns; ++c) {
        const size_t width = l.width(float_columns[c]);
        float *      to    = kept.values(c);
        for (size_t i = 0; i < chosen.size() && to != nullptr; ++i) {
            to = std::copy_n(rows.values[c] + chosen[i] * width, width, to);
        }
    }
}

}  // namespace

routed_ubatch without_tokens(const routed_ubatch & u, const std::vector<uint32_t> & tokens, ubatch_buffer & kept,
                             unknown_rows unknown) {
    std::vector<int32_t> place(u.n_tokens());  // of the tokens that stay: where they are now; else -1
    int32_t              n = 0;
    for (uint32_t t = 0; t < u.n_tokens(); ++t) {
        place[t] = std::binary_search(tokens.begin(), tokens.end(), t) ? -1 : n++;
    }
    kept.clear();
    kept.set_tokens(static_cast<size_t>(n));
    for (uint32_t t = 0; t < u.n_tokens(); ++t) {
        if (place[t] >= 0) {
            const auto to   = static_cast<size_t>(place[t]);
            kept.token[to]  = u.token[t];
            kept.pos[to]    = u.pos[t];
            kept.seq[to]    = u.seq[t];
            kept.phases[to] = u.phases[t];
        }
    }
    kept.layout  = *u.layout;
    kept.batch   = u.batch;
    kept.access  = u.access;
    kept.time_ns = u.time_ns;
    for (const block_rows & rows : u.blocks) {
        keep_rows(rows, place, unknown, kept);
    }
    return kept.view();
}

}  // namespace moescope::trace
