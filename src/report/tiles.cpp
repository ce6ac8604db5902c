#include "report/tiles.hpp"

#include <algorithm>
#include <utility>

namespace moescope::report {

tile_builder::tile_builder(uint64_t first, uint64_t max_tokens, const graph_layout & blocks, uint64_t n_before)
    : max_tokens_(max_tokens),
      n_before_(n_before),
      blocks_(blocks),
      missing_(blocks.size()) {
    tile_.first = first;
    tile_.blocks.resize(blocks.size());
}

void tile_builder::ubatch(const routed_ubatch & u) {
    const uint64_t n_before = std::exchange(n_before_, n_before_ + u.n_tokens()), end = n_before_;
    if (full() || end <= tile_.first) {
        return;
    }
    const auto   skip = static_cast<uint32_t>(n_before < tile_.first ? tile_.first - n_before : 0);
    const auto   n    = static_cast<uint32_t>(std::min<uint64_t>(u.n_tokens() - skip, max_tokens_ - tile_.size()));
    const size_t base = tile_.size();
    const auto   take = [&](auto & to, const auto & from) {
        to.insert(to.end(), from.begin() + skip, from.begin() + skip + n);
    };
    take(tile_.token, u.token);
    take(tile_.pos, u.pos);
    take(tile_.seq, u.seq);
    take(tile_.phase, u.phases);
    tile_.ubatch.resize(base + n, static_cast<uint32_t>(tile_.time_s.size()));
    tile_.time_s.push_back(static_cast<double>(u.time_ns) * 1e-9);

    for (size_t i = 0; i < blocks_.size(); ++i) {
        auto &       rows = tile_.blocks[i];
        const size_t k    = blocks_[i].n_expert_used;
        rows.present.resize(base + n);
        rows.ids.resize((base + n) * k);
        if (blocks_[i].columns.has(column::weights)) {
            rows.weights.resize((base + n) * k);
        }
    }
    for (const block_rows & rows : u.blocks) {
        add_rows(rows, skip, n, base);
    }
    for (size_t i = 0; i < blocks_.size(); ++i) {
        const auto & present = tile_.blocks[i].present;
        missing_[i] |= std::count(present.begin() + static_cast<ptrdiff_t>(base), present.end(), uint8_t(0)) > 0;
    }
}

void tile_builder::add_rows(const block_rows & rows, uint32_t skip, uint32_t n, size_t base) {
    const auto at = std::find_if(blocks_.begin(), blocks_.end(),
                                 [&](const block_layout & b) { return b.id() == rows.layout->id(); });
    if (at == blocks_.end() || at->n_expert_used != rows.layout->n_expert_used) {
        return;
    }
    auto &        out     = tile_.blocks[static_cast<size_t>(at - blocks_.begin())];
    const float * weights = rows.values_of(column::weights);
    const size_t  k       = rows.layout->n_expert_used;
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        const int64_t t = int64_t(rows.token_of(r)) - skip;
        if (rows.token_of(r) < 0 || t < 0 || t >= n) {
            continue;
        }
        const size_t to = base + static_cast<size_t>(t);
        out.present[to] = 1;
        for (size_t j = 0; j < k; ++j) {
            out.ids[to * k + j] = rows.id(r * k + j);
            if (weights != nullptr && !out.weights.empty()) {
                out.weights[to * k + j] = weights[r * k + j];
            }
        }
    }
}

token_tile tile_builder::finish(const trace::trace_source * source) {
    for (size_t i = 0; i < blocks_.size(); ++i) {
        if (!missing_[i]) {
            tile_.blocks[i].present.clear();
        }
    }
    if (source != nullptr) {
        std::vector<int32_t> ids = tile_.token;
        std::sort(ids.begin(), ids.end());
        ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
        for (const int32_t id : ids) {
            if (const std::string * text = source->piece(id)) {
                tile_.pieces.emplace_back(id, *text);
            }
        }
    }
    return std::move(tile_);
}

uint64_t tokens_that_fit(const graph_layout & blocks, uint64_t bytes) {
    uint64_t per_token = 17;
    for (const block_layout & b : blocks) {
        per_token += b.n_expert_used * (uint64_t(b.id_bytes()) + (b.columns.has(column::weights) ? 2 : 0));
    }
    return std::max<uint64_t>(bytes / per_token, 1);
}

}  // namespace moescope::report
