#include "analysis/tools/row_filter.hpp"

#include <algorithm>

#include "core/fan_out.hpp"

namespace moescope::analysis {

namespace {

bool has_phase(const routed_ubatch & u, int32_t token, phase only) {
    return token >= 0 && static_cast<size_t>(token) < u.phases.size() &&
           u.phases[static_cast<size_t>(token)] == static_cast<uint8_t>(only);
}

}  // namespace

void row_filter::ubatch(const routed_ubatch & u) {
    if (choice_.everything()) {
        next_.ubatch(u);
        return;
    }
    layout_.clear();
    blocks_.clear();
    for (const block_rows & rows : u.blocks) {
        if (choice_.layers.has(rows.layout->layer)) {
            layout_.push_back(*rows.layout);
            blocks_.push_back(rows);
        }
    }
    if (choice_.only) {
        keep_phase(u);
    }
    for (size_t i = 0; i < blocks_.size(); ++i) {
        blocks_[i].layout = &layout_[i];
    }
    routed_ubatch some = u;
    some.layout        = &layout_;
    some.blocks        = blocks_;
    next_.ubatch(some);
}

void row_filter::keep_phase(const routed_ubatch & u) {
    const bool mixed = !std::all_of(u.phases.begin(), u.phases.end(),
                                    [&](uint8_t p) { return p == static_cast<uint8_t>(*choice_.only); });
    copied_.clear();
    for (const block_rows & rows : blocks_) {
        if (mixed || !rows.row_token.empty()) {
            copy_chosen(rows, u);
        }
    }
    const routed_ubatch copied = copied_.view();
    size_t              n      = 0;
    for (block_rows & rows : blocks_) {
        if (mixed || !rows.row_token.empty()) {
            rows = copied.blocks[n++];
        }
    }
}

void row_filter::copy_chosen(const block_rows & rows, const routed_ubatch & u) {
    chosen_.clear();
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        if (has_phase(u, rows.token_of(r), *choice_.only)) {
            chosen_.push_back(r);
        }
    }
    const block_layout & l        = *rows.layout;
    const size_t         id_bytes = size_t{l.id_bytes()} * l.n_expert_used;
    copied_.layout.push_back(l);
    copied_.add_block(static_cast<uint32_t>(chosen_.size()), true);
    const auto * ids    = static_cast<const uint8_t *>(rows.ids);
    auto *       to_ids = static_cast<uint8_t *>(copied_.ids());
    for (size_t i = 0; i < chosen_.size(); ++i) {
        copied_.row_tokens()[i] = rows.token_of(chosen_[i]);
        std::copy_n(ids + chosen_[i] * id_bytes, id_bytes, to_ids + i * id_bytes);
    }
    for (size_t c = 0; c < n_float_columns; ++c) {
        const size_t width = l.width(float_columns[c]);
        float *      to    = copied_.values(c);
        for (size_t i = 0; i < chosen_.size() && to != nullptr; ++i) {
            to = std::copy_n(rows.values[c] + chosen_[i] * width, width, to);
        }
    }
}

bool read_rows(trace::trace_source & source, const row_choice & choice, const std::vector<routing_sink *> & sinks,
               const trace::read_progress & progress) {
    if (choice.everything()) {
        return trace::read_through(source, sinks, progress);
    }
    fan_out all;
    for (routing_sink * sink : sinks) {
        all.add(*sink);
    }
    row_filter chosen_rows(choice, all);
    return trace::read_through(source, {&chosen_rows}, progress);
}

}  // namespace moescope::analysis
