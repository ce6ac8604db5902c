#include "analysis/tools/slices.hpp"

#include <algorithm>

namespace moescope::analysis {

namespace {

// No model has more experts in a layer; what claims to is sorted.
constexpr uint32_t most_marked = 1024;

// A bit for each expert, on the stack: faster than sorting, whether there are few rows or many.
void mark(const block_rows & rows, size_t n, std::vector<uint32_t> & ids) {
    const uint32_t n_expert = rows.layout->n_expert;
    const uint32_t n_words  = (n_expert + 63) / 64;
    uint64_t       words[most_marked / 64];
    std::fill_n(words, n_words, uint64_t{0});
    rows.visit_ids([&](auto * p) {
        for (size_t i = 0; i < n; ++i) {
            if (p[i] < n_expert) {
                words[p[i] / 64] |= uint64_t{1} << (p[i] % 64);
            }
        }
    });
    ids.resize(std::min<size_t>(n, n_expert));
    uint32_t * end = ids.data();
    for (uint32_t w = 0; w < n_words; ++w) {
        for (uint64_t left = words[w]; left != 0; left &= left - 1) {
            *end++ = 64 * w + static_cast<uint32_t>(__builtin_ctzll(left));
        }
    }
    ids.resize(static_cast<size_t>(end - ids.data()));
}

void sort(const block_rows & rows, size_t n, std::vector<uint32_t> & ids) {
    rows.visit_ids([&](auto * p) { ids.assign(p, p + n); });
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    ids.erase(std::lower_bound(ids.begin(), ids.end(), rows.layout->n_expert), ids.end());
}

}  // namespace

void slices_read(const block_rows & rows, std::vector<uint32_t> & ids) {
    const size_t n = size_t{rows.n_rows} * rows.layout->n_expert_used;
    if (rows.layout->n_expert <= most_marked) {
        mark(rows, n, ids);
    } else {
        sort(rows, n, ids);
    }
}

bool selects_any(const routed_ubatch & u) {
    return std::any_of(u.blocks.begin(), u.blocks.end(), [](const block_rows & r) { return r.n_rows > 0; });
}

}  // namespace moescope::analysis
