#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/routing.hpp"

namespace moescope::analysis {

// The experts whose slices an ubatch reads in a block: each once however many rows select it, by rising id, as ggml reads
// them. Ids that are no experts are left out.
inline void slices_read(const block_rows & rows, std::vector<uint32_t> & ids) {
    const size_t   n        = size_t{rows.n_rows} * rows.layout->n_expert_used;
    const uint32_t n_expert = rows.layout->n_expert;
    ids.clear();
    if (n <= 64) {
        rows.visit_ids([&](auto * p) { ids.assign(p, p + n); });
        std::sort(ids.begin(), ids.end());
        ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
        while (!ids.empty() && ids.back() >= n_expert) {
            ids.pop_back();
        }
        return;
    }
    std::vector<bool> read(n_expert);  // many rows: marking is faster than sorting
    rows.visit_ids([&](auto * p) {
        for (size_t i = 0; i < n; ++i) {
            if (p[i] < n_expert) {
                read[p[i]] = true;
            }
        }
    });
    for (uint32_t e = 0; e < n_expert; ++e) {
        if (read[e]) {
            ids.push_back(e);
        }
    }
}

}  // namespace moescope::analysis
