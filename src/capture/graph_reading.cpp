#include "capture/graph_reading.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace moescope::capture {

namespace {

tensor_view view_of_input(const ggml_api & api, const ggml_tensor * t) {
    return t != nullptr ? tensor_view(api, t, t->ne[0]) : tensor_view();
}

}  // namespace

void graph_reading::bind(const ggml_api & api, planned_graph & g) {
    blocks_.clear();
    layout_.clear();
    for (const planned_graph::block & p : g.blocks) {
        block b;
        b.layout        = p.layout;
        b.squared_norms = p.squared_norms;
        bind_selected(api, p, b);
        for (size_t i = 0; i < n_float_columns; ++i) {
            if (p.columns[i] != nullptr && !b.columns[i]) {
                b.columns[i] = tensor_view(api, p.columns[i], p.layout.width(float_columns[i]));
            }
        }
        layout_.push_back(p.layout);
        blocks_.push_back(b);
    }
    tokens_at_  = view_of_input(api, g.tokens);
    pos_at_     = view_of_input(api, g.pos);
    out_ids_at_ = view_of_input(api, g.out_ids);
    n_tokens_   = g.n_tokens;
    std::swap(weight_reads_, g.weight_reads);
    if (g.first_router != nullptr) {
        weight_address_ = g.first_router->data;
    }
    g.clear();
}

// What has a value for each selected expert, and for the runner-up behind them.
void graph_reading::bind_selected(const ggml_api & api, const planned_graph::block & p, block & b) {
    const int64_t     k = p.layout.n_expert_used, n = k + p.n_extra;
    const tensor_view ids(api, p.ids, n);
    b.ids          = ids.columns(0, k);
    b.runner_up_id = p.n_extra > 0 ? ids.columns(k, 1) : tensor_view();
    for (const column c : {column::weights, column::weights_raw, column::norms, column::peaks}) {
        if (ggml_tensor * t = p.columns[column_index(c)]) {
            b.columns[column_index(c)] = tensor_view(api, t, n).columns(0, k);
        }
    }
    if (ggml_tensor * raw = p.columns[column_index(column::runner_up)]) {
        b.columns[column_index(column::runner_up)] = tensor_view(api, raw, n).columns(k, 1);
    }
}

void graph_reading::clear() {
    blocks_.clear();
    tokens_.clear();
    pos_.clear();
    out_ids_.clear();
}

void graph_reading::read_inputs() {
    const auto read = [&](const tensor_view & at, std::vector<int32_t> & to, int64_t n) {
        to.resize(at ? static_cast<size_t>(n) : 0);
        if (at && n > 0) {
            at.read_ids(to.data(), sizeof(int32_t), scratch_);
        }
    };
    read(tokens_at_, tokens_, n_tokens_);
    read(pos_at_, pos_, pos_at_ ? pos_at_.cols() : 0);
    read(out_ids_at_, out_ids_, out_ids_at_ ? out_ids_at_.cols() : 0);
}

ubatch_buffer & graph_reading::collect() {
    read_.clear();
    const auto n_tokens = static_cast<size_t>(n_tokens_);
    read_.set_tokens(n_tokens);
    std::copy(tokens_.begin(), tokens_.end(), read_.token.begin());
    if (pos_.size() >= n_tokens) {  // M-RoPE has four sections: the first is the position
        std::copy_n(pos_.begin(), n_tokens, read_.pos.begin());
    }
    read_.layout = layout_;
    for (const block & b : blocks_) {
        fill_block(b);
    }
    return read_;
}

void graph_reading::fill_block(const block & b) {
    const auto n_rows     = b.ids ? static_cast<uint32_t>(b.ids.rows()) : 0;
    const bool all_tokens = static_cast<int64_t>(n_rows) == n_tokens_;
    read_.add_block(n_rows, !all_tokens);
    if (!all_tokens) {
        name_rows(n_rows);
    }
    if (n_rows == 0) {
        return;
    }
    b.ids.read_ids(read_.ids(), b.layout.id_bytes(), scratch_);
    for (size_t i = 0; i < n_float_columns; ++i) {
        if (float * const to = read_.values(i)) {
            fill_column(b, i, n_rows, to);
        }
    }
}

// As many rows as outputs: rows of the tokens whose logits were asked for (docs/capture.md, trap 6). Else it is not known.
void graph_reading::name_rows(uint32_t n_rows) {
    const bool outputs = out_ids_.size() == n_rows;
    for (uint32_t r = 0; r < n_rows; ++r) {
        read_.row_tokens()[r] = outputs && out_ids_[r] >= 0 && out_ids_[r] < n_tokens_ ? out_ids_[r] : -1;
    }
}

// Of the last block, which has fewer rows than the ubatch has tokens.
bool graph_reading::rows_known(uint32_t n_rows) {
    return std::all_of(read_.row_tokens(), read_.row_tokens() + n_rows, [](int32_t t) { return t >= 0; });
}

void graph_reading::fill_column(const block & b, size_t i, uint32_t n_rows, float * to) {
    const tensor_view & from  = b.columns[i];
    const size_t        width = b.layout.width(float_columns[i]);

    if (float_columns[i] == column::runner_up) {
        fill_runner_up(b, n_rows, to);
        return;
    }
    const bool of_these_rows = from && from.rows() == static_cast<int64_t>(n_rows);
    const bool of_all_tokens = from && from.rows() == n_tokens_;
    if (of_these_rows) {
        from.read_floats(to, scratch_);
    } else if (of_all_tokens && rows_known(n_rows)) {
        pick_rows(from, n_rows, width, to);
    } else {
        std::fill_n(to, size_t(n_rows) * width, NAN);  // check reports it
        return;
    }
    if (float_columns[i] == column::norms && b.squared_norms) {
        std::transform(to, to + size_t(n_rows) * width, to, [](float s) { return std::sqrt(s); });
    }
}

void graph_reading::fill_runner_up(const block & b, uint32_t n_rows, float * to) {
    const tensor_view & gates = b.columns[column_index(column::runner_up)];
    if (gates.rows() != static_cast<int64_t>(n_rows) || b.runner_up_id.rows() != static_cast<int64_t>(n_rows)) {
        std::fill_n(to, size_t(n_rows) * 2, NAN);
        return;
    }
    next_ids_.resize(n_rows);
    all_rows_.resize(n_rows);
    b.runner_up_id.read_ids(next_ids_.data(), sizeof(int32_t), scratch_);
    gates.read_floats(all_rows_.data(), scratch_);
    for (uint32_t r = 0; r < n_rows; ++r) {
        to[2 * r]     = static_cast<float>(next_ids_[r]);
        to[2 * r + 1] = all_rows_[r];
    }
}

// The router read all tokens before the rows that matter were chosen (SmallThinker's last layer).
void graph_reading::pick_rows(const tensor_view & of_all_tokens, uint32_t n_rows, size_t width, float * to) {
    all_rows_.resize(static_cast<size_t>(n_tokens_) * width);
    of_all_tokens.read_floats(all_rows_.data(), scratch_);
    for (uint32_t r = 0; r < n_rows; ++r) {
        std::copy_n(all_rows_.data() + size_t(read_.row_tokens()[r]) * width, width, to + r * width);
    }
}

}  // namespace moescope::capture
