#include "analysis/tools/row_filter.hpp"

#include <algorithm>
#include <cstring>

namespace moescope::analysis {

namespace {

bool chosen(const routed_ubatch & u, int32_t token, phase only) {
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
    kept_.resize(std::max(kept_.size(), blocks_.size()));
    const bool mixed = choice_.only && !std::all_of(u.phases.begin(), u.phases.end(), [&](uint8_t p) {
                           return p == static_cast<uint8_t>(*choice_.only);
                       });
    for (size_t i = 0; i < blocks_.size(); ++i) {
        if (mixed || (choice_.only && !blocks_[i].row_token.empty())) {
            blocks_[i] = keep(blocks_[i], u, kept_[i]);
        }
        blocks_[i].layout = &layout_[i];
    }
    routed_ubatch some = u;
    some.layout        = &layout_;
    some.blocks        = blocks_;
    next_.ubatch(some);
}

block_rows row_filter::keep(const block_rows & rows, const routed_ubatch & u, kept_rows & to) const {
    const block_layout & l        = *rows.layout;
    const size_t         id_bytes = size_t{l.id_bytes()} * l.n_expert_used;
    to.row_token.clear();
    to.ids.clear();
    for (auto & v : to.values) {
        v.clear();
    }
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        const int32_t t = rows.token_of(r);
        if (!chosen(u, t, *choice_.only)) {
            continue;
        }
        to.row_token.push_back(t);
        const auto * ids = static_cast<const uint8_t *>(rows.ids) + r * id_bytes;
        to.ids.insert(to.ids.end(), ids, ids + id_bytes);
        for (size_t c = 0; c < n_float_columns; ++c) {
            if (rows.values[c] != nullptr) {
                const size_t  width = l.width(float_columns[c]);
                const float * v     = rows.values[c] + r * width;
                to.values[c].insert(to.values[c].end(), v, v + width);
            }
        }
    }
    block_rows kept = rows;
    kept.n_rows     = static_cast<uint32_t>(to.row_token.size());
    kept.row_token  = to.row_token;
    kept.ids        = to.ids.data();
    for (size_t c = 0; c < n_float_columns; ++c) {
        kept.values[c] = rows.values[c] != nullptr ? to.values[c].data() : nullptr;
    }
    return kept;
}

}  // namespace moescope::analysis
