#include "trace/encode_frame.hpp"

namespace moescope::trace {

namespace {

void encode_tokens(encoder & to, const routed_ubatch & u, bool with_ids) {
    if (with_ids) {
        to.raw(u.token.data(), u.token.size() * sizeof(int32_t));
        return;
    }
    for (uint32_t t = 0; t < u.n_tokens(); ++t) {
        to.value(int32_t{-1});  // as for an embedding, whose token nobody knows
    }
}

void encode_column(encoder & to, const float * values, size_t n, bool f16) {
    if (!f16) {
        to.raw(values, n * sizeof(float));
        return;
    }
    auto * out = static_cast<uint16_t *>(to.grow(n * sizeof(uint16_t)));
    for (size_t i = 0; i < n; ++i) {
        out[i] = to_f16(values[i]);
    }
    to.pad(4);
}

void encode_block(encoder & to, const block_rows & b, bool f16) {
    to.raw(b.row_token.data(), b.row_token.size() * sizeof(int32_t));
    to.raw(b.ids, size_t(b.n_rows) * b.layout->n_expert_used * b.layout->id_bytes());
    to.pad(4);
    for (size_t i = 0; i < n_float_columns; ++i) {
        if (b.layout->columns.has(float_columns[i])) {
            encode_column(to, b.values[i], size_t(b.n_rows) * b.layout->width(float_columns[i]), f16);
        }
    }
}

}  // namespace

bool encode_frame(encoder & frames, const routed_ubatch & u, const frame_form & form) {
    const size_t start = frames.size();
    frame_header h     = {};
    h.layout           = form.layout;
    h.time_ns          = u.time_ns;
    h.batch            = u.batch;
    h.access           = u.access;
    h.n_tokens         = u.n_tokens();
    h.n_blocks         = static_cast<uint32_t>(u.blocks.size());
    frames.value(h);
    encode_tokens(frames, u, form.tokens);
    frames.raw(u.pos.data(), u.pos.size() * sizeof(int32_t));
    frames.raw(u.seq.data(), u.seq.size() * sizeof(int32_t));
    frames.raw(u.phases.data(), u.phases.size());
    frames.pad(4);
    for (const block_rows & b : u.blocks) {
        frames.value(b.n_rows | (b.row_token.empty() ? 0 : rows_have_tokens));
    }
    for (const block_rows & b : u.blocks) {
        encode_block(frames, b, form.f16);
    }
    frames.pad(frame_alignment);  // so that the next frame's 64-bit time is aligned
    if (frames.size() - start > UINT32_MAX) {
        frames.shrink(start);
        return false;
    }
    frames.at<frame_header>(start)->size = static_cast<uint32_t>(frames.size() - start);
    return true;
}

void encode_event(encoder & events, const memory_event & e) {
    memory_record r;
    r.kind         = static_cast<uint32_t>(e.kind);
    r.seq          = e.seq;
    r.to           = e.to;
    r.p0           = e.p0;
    r.p1           = e.p1;
    r.delta        = e.delta;
    r.last         = e.last;
    r.why          = static_cast<uint32_t>(e.why);
    r.n_taken_back = static_cast<uint32_t>(e.taken_back.size());
    r.zero         = 0;
    r.n_ubatches   = e.n_ubatches;
    events.value(r);
    for (const token_ref & t : e.taken_back) {
        events.value(token_record{t.ubatch, t.token, 0});
    }
}

// Whether some of the tokens may be taken back before the next ubatch: a sequence decodes several.
bool verifies_drafts(const routed_ubatch & u) {
    for (uint32_t t = 1; t < u.n_tokens(); ++t) {
        if (u.seq[t] == u.seq[t - 1] && u.phases[t] == static_cast<uint8_t>(phase::decode)) {
            return true;
        }
    }
    return false;
}

}  // namespace moescope::trace
