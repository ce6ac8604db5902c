#include "analysis/tools/forecaster.hpp"

#include <algorithm>
#include <numeric>

#include "analysis/tools/rows_by_token.hpp"
#include "analysis/tools/slices.hpp"

namespace moescope::analysis {

namespace {

bool contains(const std::vector<uint32_t> & list, uint32_t id) {
    return std::find(list.begin(), list.end(), id) != list.end();
}

size_t reach_of(const block_layout & l) {
    return std::min<size_t>(size_t{forecaster::reach} * l.n_expert_used, l.n_expert);
}

// The block `distance` routers before this one that a graph computes with a router of its own: GroveMoE's second blocks have
// none.
size_t router_before(const routed_ubatch & u, size_t block, uint32_t distance) {
    while (distance > 0 && block > 0) {
        block -= 1;
        distance -= u.blocks[block].layout->block == 0;
    }
    return distance == 0 ? block : SIZE_MAX;
}

}  // namespace

const char * to_string(foresight f) {
    switch (f) {
        case foresight::previous: return "previous token";
        case foresight::hot: return "hot list";
        case foresight::coactivated: return "co-activated";
        case foresight::router: return "router, 1 ahead";
        case foresight::router2: return "router, 2 ahead";
        default: return "union";
    }
}

std::vector<foresight> all_foresights() {
    std::vector<foresight> all;
    for (size_t i = 0; i < n_foresights; ++i) {
        all.push_back(static_cast<foresight>(i));
    }
    return all;
}

void distinct_ids(const block_rows & rows, uint32_t row, std::vector<uint32_t> & ids) {
    const size_t k = rows.layout->n_expert_used;
    ids.clear();
    for (size_t j = 0; j < k; ++j) {
        const uint32_t id = rows.id(row * k + j);
        if (id < rows.layout->n_expert && !contains(ids, id)) {
            ids.push_back(id);
        }
    }
}

void foresight_lessons::ubatch(const routed_ubatch & u) {
    if (!selects_any(u)) {
        return;
    }
    pairs_[ubatches_++ < half_at_ ? 0 : 1].ubatch(u);
    for (const block_rows & rows : u.blocks) {
        learn_router(rows);
    }
}

void foresight_lessons::learn_router(const block_rows & rows) {
    const block_layout & l      = *rows.layout;
    const float *        inputs = rows.values_of(column::gate_input);
    if (inputs == nullptr || l.block != 0 || !router_.has(l.layer, l.n_embd, l.n_expert)) {
        return;
    }
    for (uint32_t r = 0; r < rows.n_rows && router_.learned() < most_rows; ++r) {
        distinct_ids(rows, r, ids_);
        router_.learn(l.layer, inputs + size_t{r} * l.n_embd, ids_);
    }
}

void foresight_lessons::finish() {
    for (size_t half = 0; half < 2; ++half) {
        counted_[half] = pairs_[half].result().between;
    }
    if (router_.learned() > 0) {
        router_.decide();
    }
}

const pair_counts * foresight_lessons::between(size_t half, const block_layout & from, const block_layout & to,
                                               size_t hint) const {
    const auto & all     = counted_[half];
    const auto   matches = [&](const pair_counts & p) { return p.from.id() == from.id() && p.to.id() == to.id(); };
    if (hint < all.size() && matches(all[hint])) {
        return &all[hint];
    }
    const auto it = std::find_if(all.begin(), all.end(), matches);
    return it == all.end() ? nullptr : &*it;
}

forecaster::forecaster(const cache_counts & counted, const foresight_lessons & lessons, foreseen_router & router)
    : counted_(counted),
      lessons_(lessons),
      router_(router) {
    for (size_t b = 0; b < counted.blocks().size(); ++b) {
        blocks_.at(counted.blocks()[b].layout, b);
    }
    start_half(0);
}

void forecaster::start_half(size_t half) {
    half_ = half;
    hot_.clear();
    for (size_t b = 0; b < counted_.blocks().size(); ++b) {
        const cache_counts::block & block = counted_.blocks()[b];
        const auto &                count = block.count[1 - half];
        std::vector<uint32_t>       order(count.size());
        std::iota(order.begin(), order.end(), 0u);
        std::stable_sort(order.begin(), order.end(), [&](uint32_t x, uint32_t y) { return count[x] > count[y]; });
        order.resize(reach_of(block.layout));
        hot_.push_back(std::move(order));
    }
}

void forecaster::ubatch(const routed_ubatch & u, const std::vector<token_place> & places) {
    row_of_token_.resize(u.blocks.size());
    own_.resize(u.blocks.size());
    for (auto & lists : lists_) {
        lists.resize(u.blocks.size());
    }
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        rows_by_token(u.blocks[i], u.n_tokens(), row_of_token_[i]);
        own_[i].assign(u.blocks[i].n_rows, {});
        for (auto & lists : lists_) {
            lists[i].assign(u.blocks[i].n_rows, {});
        }
    }
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        forecast_block(u, i, places);
    }
}

void forecaster::forecast_block(const routed_ubatch & u, size_t block, const std::vector<token_place> & places) {
    const block_rows & rows = u.blocks[block];
    const size_t       b    = blocks_.index(*rows.layout, block);
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        follow_sequence(u, block, r, place_of(places, rows.token_of(r)));
        slot(foresight::hot, block, r) = hot_[b];
        from_neighbour(u, block, r);
        from_router(u, block, r);
        mix(block, r);
    }
}

void forecaster::follow_sequence(const routed_ubatch & u, size_t block, uint32_t row, const token_place & place) {
    if (place.sequence < 0) {
        return;
    }
    const block_rows & rows = u.blocks[block];
    const auto         t    = static_cast<size_t>(rows.token_of(row));
    history &          h    = histories_[{blocks_.index(*rows.layout, block), u.seq[t]}];
    if (h.sequence != place.sequence) {
        h = {place.sequence, {}};
    }
    slot(foresight::previous, block, row) = h.recent;
    std::vector<uint32_t> recent;
    distinct_ids(rows, row, recent);
    for (const uint32_t id : h.recent) {
        if (recent.size() < reach_of(*rows.layout) && !contains(recent, id)) {
            recent.push_back(id);
        }
    }
    h.recent = std::move(recent);
}

int64_t forecaster::row_in(const routed_ubatch & u, size_t block, int32_t token) const {
    return block < u.blocks.size() && token >= 0 ? row_of_token_[block][static_cast<size_t>(token)] : -1;
}

void forecaster::from_neighbour(const routed_ubatch & u, size_t block, uint32_t row) {
    const block_rows & rows   = u.blocks[block];
    const int64_t      before = block > 0 ? row_in(u, block - 1, rows.token_of(row)) : -1;
    if (before < 0) {
        return;
    }
    const block_layout & to = *rows.layout;
    const pair_counts *  p  = lessons_.between(1 - half_, *u.blocks[block - 1].layout, to, block - 1);
    if (p == nullptr) {
        return;
    }
    scores_.assign(to.n_expert, 0);
    std::vector<uint32_t> chosen;
    distinct_ids(u.blocks[block - 1], static_cast<uint32_t>(before), chosen);
    for (const uint32_t a : chosen) {
        const double n = double(p->count_from[a]);
        for (uint32_t e = 0; n > 0 && e < to.n_expert; ++e) {
            scores_[e] += double(p->n_both(a, e)) / n;
        }
    }
    std::vector<uint32_t> & list = slot(foresight::coactivated, block, row);
    list.resize(to.n_expert);
    std::iota(list.begin(), list.end(), 0u);
    const auto n = static_cast<long>(reach_of(to));
    std::partial_sort(list.begin(), list.begin() + n, list.end(), [&](uint32_t x, uint32_t y) {
        if (scores_[x] != scores_[y]) {
            return scores_[x] > scores_[y];
        }
        return p->count_to[x] != p->count_to[y] ? p->count_to[x] > p->count_to[y] : x < y;
    });
    list.resize(static_cast<size_t>(n));
}

const float * forecaster::input_of(const block_rows & rows, int64_t row) const {
    const float * all = rows.values_of(column::gate_input);
    return all == nullptr || row < 0 ? nullptr : all + static_cast<size_t>(row) * rows.layout->n_embd;
}

void forecaster::from_router(const routed_ubatch & u, size_t block, uint32_t row) {
    const block_rows &   rows = u.blocks[block];
    const block_layout & l    = *rows.layout;
    if (l.block != 0 || l.has(block_layout::given_ids) || !router_.has(l.layer, l.n_embd, l.n_expert)) {
        return;
    }
    if (const float * input = input_of(rows, row)) {
        router_.rank(l.layer, input, l.n_expert_used, own_[block][row]);
    }
    for (const uint32_t distance : {1u, 2u}) {
        const size_t  from  = router_before(u, block, distance);
        const int64_t there = row_in(u, from, rows.token_of(row));
        if (there < 0 || u.blocks[from].layout->n_embd != l.n_embd) {
            continue;
        }
        if (const float * input = input_of(u.blocks[from], there)) {
            router_.rank(l.layer, input, reach_of(l),
                         slot(distance == 1 ? foresight::router : foresight::router2, block, row));
        }
    }
}

void forecaster::mix(size_t block, uint32_t row) {
    std::vector<uint32_t> & list = slot(foresight::together, block, row);
    size_t                  most = 0;
    for (size_t i = 0;; ++i) {
        bool any = false;
        for (const foresight f : {foresight::router, foresight::coactivated, foresight::previous}) {
            const std::vector<uint32_t> & from = slot(f, block, row);
            most                               = std::max(most, from.size());
            if (i < from.size()) {
                any = true;
                if (!contains(list, from[i])) {
                    list.push_back(from[i]);
                }
            }
        }
        if (!any || list.size() >= most) {
            break;
        }
    }
    list.resize(std::min(list.size(), most));
}

}  // namespace moescope::analysis
