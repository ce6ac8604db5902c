#include "core/expert_counts.hpp"

#include <algorithm>

#include "core/block_table.hpp"

namespace moescope {

expert_counts::block & expert_counts::find(const block_layout & l, size_t hint) {
    const size_t i = find_block(layout, l, hint);
    if (i == layout.size()) {
        layout.push_back(l);
        blocks.emplace_back();
    }
    // Another graph of the same layer may know more experts: a foreign log that names them without their number.
    layout[i].n_expert = std::max(layout[i].n_expert, l.n_expert);
    blocks[i].count.resize(layout[i].n_expert);
    return blocks[i];
}

void expert_counts::add(const routed_ubatch & u) {
    ubatches += 1;
    count(u, 1);
}

void expert_counts::subtract(const routed_ubatch & u) {
    count(u, uint64_t{0} - 1);
}

void expert_counts::count(const routed_ubatch & u, uint64_t by) {
    tokens += by * u.n_tokens();
    for (const uint8_t p : u.phases) {
        decoded += p == static_cast<uint8_t>(phase::decode) ? by : 0;
    }
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        const block_rows & rows = u.blocks[i];
        block &            b    = find(*rows.layout, i);
        b.rows += by * rows.n_rows;
        for (uint32_t r = 0; r < rows.n_rows; ++r) {
            const int32_t t = rows.token_of(r);
            b.rows_decoded +=
                t >= 0 && u.phases[static_cast<size_t>(t)] == static_cast<uint8_t>(phase::decode) ? by : 0;
        }
        rows.visit_ids([&](auto * ids) {
            const size_t n = size_t(rows.n_rows) * rows.layout->n_expert_used;
            for (size_t j = 0; j < n; ++j) {
                if (ids[j] < b.count.size()) {  // the capture's self-test makes sure; a damaged trace may not
                    b.count[ids[j]] += by;
                }
            }
        });
    }
}

void expert_counts::add(const expert_counts & other) {
    tokens += other.tokens;
    decoded += other.decoded;
    ubatches += other.ubatches;
    for (size_t i = 0; i < other.layout.size(); ++i) {
        block &       b = find(other.layout[i], i);
        const block & o = other.blocks[i];
        b.rows += o.rows;
        b.rows_decoded += o.rows_decoded;
        for (size_t e = 0; e < o.count.size(); ++e) {  // no more than the layout's n_expert, so b is large enough
            b.count[e] += o.count[e];
        }
    }
}

}  // namespace moescope
