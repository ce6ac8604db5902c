#include "analysis/temporal.hpp"

#include <algorithm>
#include <cmath>

namespace moescope::analysis {

namespace {

size_t reuse_class(uint32_t distance) {
    return static_cast<size_t>(std::lower_bound(reuse_class_end.begin(), reuse_class_end.end(), distance) -
                               reuse_class_end.begin());
}

// P(distance falls into each class) when every row selects an expert with probability p: geometric.
std::array<double, n_reuse_classes - 1> geometric(double p) {
    std::array<double, n_reuse_classes - 1> share = {};
    double                                  below = 0;
    for (size_t c = 0; c < reuse_class_end.size(); ++c) {
        const double up_to = 1 - std::pow(1 - p, reuse_class_end[c]);
        share[c]           = up_to - below;
        below              = up_to;
    }
    share.back() = 1 - below;
    return share;
}

}  // namespace

void temporal::uses::add(uint32_t row) {
    const uint32_t by = row - last;
    if (last == 0 || by >= 128) {
        before = {};
    } else if (by >= 64) {
        before = {0, before[0] << (by - 64)};
    } else {
        before = {before[0] << by, before[1] << by | before[0] >> (64 - by)};
    }
    before[0] |= 1;
    last = row;
}

void temporal::ubatch(const routed_ubatch & u) {
    const std::vector<token_place> & places = tracker_.follow(u);
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        const block_rows & rows  = u.blocks[i];
        const size_t       index = blocks_.index(*rows.layout, i);
        block &            b     = blocks_[index];
        for (uint32_t r = 0; r < rows.n_rows; ++r) {
            const int32_t     t     = rows.token_of(r);
            const token_place place = place_of(places, t);
            if (place.sequence < 0) {
                rows_unknown_ += 1;
                continue;
            }
            add_row(b, histories_[{index, u.seq[static_cast<size_t>(t)]}], rows, r, place);
        }
    }
}

void temporal::add_row(block & b, history & h, const block_rows & rows, uint32_t r, const token_place & place) {
    // A new sequence, or rows that this block did not compute in between: no neighbour is known.
    if (h.sequence != place.sequence || place.at != h.at + 1) {
        h.sequence = place.sequence;
        h.n        = 0;
        h.of.assign(b.layout.n_expert, {});
    }
    h.at = place.at;
    h.n += 1;
    b.rows += 1;
    const uint32_t                            k      = rows.layout->n_expert_used;
    std::array<uint32_t, overlap_lags.size()> shared = {};
    for (uint32_t j = 0; j < k; ++j) {
        const uint32_t id = rows.id(size_t{r} * k + j);
        if (id >= h.of.size() || h.of[id].last == h.n) {
            continue;  // no expert, or named twice in one row (GroveMoE)
        }
        uses & u = h.of[id];
        if (u.last != 0) {
            for (size_t l = 0; l < overlap_lags.size() && overlap_lags[l] < h.n; ++l) {
                shared[l] += h.n - u.last <= overlap_lags[l] && u.at(h.n - overlap_lags[l]);
            }
        }
        b.count[id] += 1;
        b.reuse[u.last != 0 ? reuse_class(h.n - u.last) : n_reuse_classes - 1] += 1;
        u.add(h.n);
    }
    for (size_t l = 0; k > 0 && l < overlap_lags.size() && overlap_lags[l] < h.n; ++l) {
        b.overlap[l].add(double(shared[l]) / k);
    }
}

temporal_result temporal::result() const {
    temporal_result r;
    r.sequences    = tracker_.n_sequences();
    r.rows_unknown = rows_unknown_;
    for (const block * b : blocks_.sorted()) {
        const double   k = b->layout.n_expert_used, n = static_cast<double>(b->rows);
        block_temporal t;
        t.layout   = b->layout;
        t.rows     = b->rows;
        t.overlap  = b->overlap;
        t.reuse    = b->reuse;
        double sum = 0;
        for (const uint64_t c : b->count) {
            sum += double(c) * (double(c) - 1);
        }
        t.overlap_by_popularity = n > 1 ? sum / (n * (n - 1) * k) : unknown;
        t.overlap_by_chance     = k / b->layout.n_expert;
        t.reuse_by_chance       = geometric(t.overlap_by_chance);
        r.blocks.push_back(std::move(t));
    }
    return r;
}

}  // namespace moescope::analysis
