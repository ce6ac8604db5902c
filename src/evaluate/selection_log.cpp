#include "evaluate/selection_log.hpp"

#include <algorithm>

namespace moescope::evaluate {

namespace {

void count_rows(const selection_log::block & full, const selection_log::block & changed,
                std::vector<displaced_count> & counts) {
    const size_t k = full.k, k_changed = changed.k;
    for (size_t row = 0; row < full.sequence.size(); ++row) {
        const auto sequence = static_cast<size_t>(full.sequence[row]);
        if (sequence >= counts.size()) {
            continue;  // -1 as well
        }
        const uint32_t * there = &changed.ids[row * k_changed];
        for (size_t i = 0; i < k; ++i) {
            const bool kept = std::find(there, there + k_changed, full.ids[row * k + i]) != there + k_changed;
            counts[sequence].displaced += kept ? 0 : 1;
        }
        counts[sequence].selections += k;
    }
}

}  // namespace

void selection_log::ubatch(const routed_ubatch & u) {
    one_ubatch here;
    for (const block_rows & rows : u.blocks) {
        block b;
        b.id       = rows.layout->id();
        b.n_expert = rows.layout->n_expert;
        b.k        = rows.layout->n_expert_used;
        for (uint32_t r = 0; r < rows.n_rows; ++r) {
            const int32_t token = rows.token_of(r);
            b.sequence.push_back(token < 0 ? -1 : u.seq[static_cast<size_t>(token)]);
        }
        rows.visit_ids([&](const auto * ids) { b.ids.assign(ids, ids + size_t{rows.n_rows} * b.k); });
        rename(b);
        here.push_back(std::move(b));
    }
    ubatches_.push_back(std::move(here));
}

void selection_log::rename(block & b) const {
    const auto names = names_.of_layer.find(b.id.layer);
    if (names == names_.of_layer.end() || names->second.size() != b.n_expert) {
        return;
    }
    b.n_expert = names_.n_expert;
    for (uint32_t & id : b.ids) {
        id = names->second[id];
    }
}

std::vector<displaced_count> count_displaced(const selection_log & full, const selection_log & changed,
                                             size_t n_sequences) {
    std::vector<displaced_count> counts(n_sequences);
    const size_t                 n = std::min(full.ubatches().size(), changed.ubatches().size());
    for (size_t u = 0; u < n; ++u) {
        const selection_log::one_ubatch & blocks = changed.ubatches()[u];
        for (const selection_log::block & f : full.ubatches()[u]) {
            const auto c = std::find_if(blocks.begin(), blocks.end(), [&](const auto & b) { return b.id == f.id; });
            if (c != blocks.end() && c->n_expert == f.n_expert && c->sequence == f.sequence) {
                count_rows(f, *c, counts);
            }
        }
    }
    return counts;
}

}  // namespace moescope::evaluate
