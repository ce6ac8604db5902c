#include "core/ubatch_buffer.hpp"

namespace moescope {

namespace {

// Every column begins at a multiple of 8, so that ids of any width and floats are aligned.
size_t take(std::vector<uint8_t> & bytes, size_t n) {
    const size_t at = (bytes.size() + 7) / 8 * 8;
    bytes.resize(at + n);
    return at;
}

}  // namespace

void ubatch_buffer::clear() {
    set_tokens(0);
    layout.clear();
    blocks_.clear();
    bytes_.clear();
    batch   = 0;
    access  = 0;
    time_ns = 0;
}

void ubatch_buffer::set_tokens(size_t n_tokens) {
    token.assign(n_tokens, -1);
    pos.assign(n_tokens, -1);
    seq.assign(n_tokens, -1);
    phases.assign(n_tokens, static_cast<uint8_t>(phase::prefill));
}

void ubatch_buffer::add_block(uint32_t n_rows, bool with_row_tokens) {
    const block_layout & l = layout[blocks_.size()];
    open_block           b;
    b.n_rows     = n_rows;
    b.has_tokens = with_row_tokens;
    if (with_row_tokens) {
        b.row_token_at = take(bytes_, n_rows * sizeof(int32_t));
    }
    b.ids_at = take(bytes_, size_t(n_rows) * l.n_expert_used * l.id_bytes());
    for (size_t i = 0; i < n_float_columns; ++i) {
        if (l.columns.has(float_columns[i])) {
            b.column_at[i] = take(bytes_, size_t(n_rows) * l.width(float_columns[i]) * sizeof(float));
        }
    }
    blocks_.push_back(b);
}

int32_t * ubatch_buffer::row_tokens(size_t block) {
    return reinterpret_cast<int32_t *>(bytes_.data() + blocks_[block].row_token_at);
}

void * ubatch_buffer::ids(size_t block) {
    return bytes_.data() + blocks_[block].ids_at;
}

float * ubatch_buffer::values(size_t block, size_t float_column) {
    const bool there = layout[block].columns.has(float_columns[float_column]);
    return there ? reinterpret_cast<float *>(bytes_.data() + blocks_[block].column_at[float_column]) : nullptr;
}

void ubatch_buffer::set_id(size_t i, uint32_t id) {
    switch (layout[blocks_.size() - 1].id_bytes()) {
        case 1: static_cast<uint8_t *>(ids())[i] = static_cast<uint8_t>(id); break;
        case 2: static_cast<uint16_t *>(ids())[i] = static_cast<uint16_t>(id); break;
        default: static_cast<uint32_t *>(ids())[i] = id; break;
    }
}

routed_ubatch ubatch_buffer::view() {
    views_.resize(blocks_.size());
    for (size_t i = 0; i < blocks_.size(); ++i) {
        const open_block & b = blocks_[i];
        block_rows &       v = views_[i];
        v.layout             = &layout[i];
        v.n_rows             = b.n_rows;
        v.row_token          = {row_tokens(i), b.has_tokens ? b.n_rows : 0};
        v.ids                = ids(i);
        for (size_t c = 0; c < n_float_columns; ++c) {
            v.values[c] = values(i, c);
        }
    }
    routed_ubatch u;
    u.time_ns = time_ns;
    u.batch   = batch;
    u.access  = access;
    u.token   = token;
    u.pos     = pos;
    u.seq     = seq;
    u.phases  = phases;
    u.layout  = &layout;
    u.blocks  = {views_.data(), views_.size()};
    return u;
}

}  // namespace moescope
