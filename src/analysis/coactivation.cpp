#include "analysis/coactivation.hpp"

#include <algorithm>
#include <tuple>

#include "analysis/tools/rows_by_token.hpp"

namespace moescope::analysis {

namespace {

pair_counts & find_pair(std::vector<pair_counts> & all, const block_layout & a, const block_layout & b, size_t hint) {
    const auto matches = [&](const pair_counts & p) { return p.from.id() == a.id() && p.to.id() == b.id(); };
    if (hint < all.size() && matches(all[hint])) {
        return all[hint];
    }
    const auto it = std::find_if(all.begin(), all.end(), matches);
    if (it != all.end()) {
        return *it;
    }
    pair_counts p;
    p.from = a;
    p.to   = b;
    p.count_from.resize(a.n_expert);
    p.count_to.resize(b.n_expert);
    p.both.resize(size_t{a.n_expert} * b.n_expert);
    all.push_back(std::move(p));
    return all.back();
}

void sort_pairs(std::vector<pair_counts> & all) {
    std::sort(all.begin(), all.end(),
              [](const pair_counts & a, const pair_counts & b) { return a.from.id() < b.from.id(); });
}

// The experts that a row selects, each once (GroveMoE's second block repeats).
void experts_of(const block_rows & rows, size_t row, std::vector<uint32_t> & experts) {
    const size_t k = rows.layout->n_expert_used;
    experts.clear();
    rows.visit_ids([&](auto * ids) {
        for (size_t i = row * k; i < (row + 1) * k; ++i) {
            const uint32_t id = ids[i];
            if (id < rows.layout->n_expert && (!rows.layout->has(block_layout::ids_repeat) ||
                                               std::find(experts.begin(), experts.end(), id) == experts.end())) {
                experts.push_back(id);
            }
        }
    });
}

}  // namespace

double pair_counts::conditional(uint32_t a, uint32_t b) const {
    return count_from[a] ? double(n_both(a, b)) / double(count_from[a]) : unknown;
}

double pair_counts::lift(uint32_t a, uint32_t b) const {
    return count_to[b] ? conditional(a, b) * double(rows) / double(count_to[b]) : unknown;
}

interval pair_counts::lift_interval(uint32_t a, uint32_t b) const {
    const interval share = wilson(n_both(a, b), count_from[a]);
    const double   scale = count_to[b] ? double(rows) / double(count_to[b]) : unknown;
    return {share.low * scale, share.high * scale};
}

double pair_counts::lift_by_chance() const {
    if (!within()) {
        return 1;
    }
    const double k = from.n_expert_used, n = from.n_expert;
    return n > 1 ? n * (k - 1) / (k * (n - 1)) : unknown;
}

std::vector<expert_pair> top_pairs(const pair_counts & p, size_t n) {
    std::vector<expert_pair> all;
    for (uint32_t a = 0; a < p.from.n_expert; ++a) {
        for (uint32_t b = p.within() ? a + 1 : 0; b < p.to.n_expert; ++b) {
            if (p.n_both(a, b) >= least_together) {
                // Within a block either may stand for the condition; the rarer one gives the more cautious interval.
                const bool swap = p.within() && p.count_from[b] < p.count_from[a];
                all.push_back({a, b, p.lift(a, b), swap ? p.lift_interval(b, a) : p.lift_interval(a, b)});
            }
        }
    }
    n = std::min(n, all.size());
    std::partial_sort(all.begin(), all.begin() + static_cast<long>(n), all.end(), [](auto & x, auto & y) {
        return std::tuple(-x.range.low, x.a, x.b) < std::tuple(-y.range.low, y.a, y.b);
    });
    all.resize(n);
    return all;
}

void coactivation::ubatch(const routed_ubatch & u) {
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        add_within(find_pair(within_, *u.blocks[i].layout, *u.blocks[i].layout, i), u.blocks[i]);
        if (i > 0) {
            add_between(find_pair(between_, *u.blocks[i - 1].layout, *u.blocks[i].layout, i - 1), u, u.blocks[i - 1],
                        u.blocks[i]);
        }
    }
}

// Counts each pair in one of its two cells; result() fills the other.
void coactivation::add_within(pair_counts & p, const block_rows & rows) {
    const size_t n = p.from.n_expert;
    p.rows += rows.n_rows;
    for (size_t r = 0; r < rows.n_rows; ++r) {
        experts_of(rows, r, experts_);
        for (size_t i = 0; i < experts_.size(); ++i) {
            p.count_from[experts_[i]] += 1;
            for (size_t j = 0; j < i; ++j) {
                p.both[std::min(experts_[i], experts_[j]) * n + std::max(experts_[i], experts_[j])] += 1;
            }
        }
    }
}

void coactivation::add_between(pair_counts & p, const routed_ubatch & u, const block_rows & a, const block_rows & b) {
    rows_by_token(a, u.n_tokens(), row_of_token_);
    for (uint32_t r = 0; r < b.n_rows; ++r) {
        const int32_t t   = b.token_of(r);
        const int64_t row = t >= 0 ? row_of_token_[static_cast<size_t>(t)] : -1;
        if (row < 0) {
            continue;
        }
        p.rows += 1;
        experts_of(a, static_cast<size_t>(row), experts_);
        experts_of(b, r, next_experts_);
        for (const uint32_t to : next_experts_) {
            p.count_to[to] += 1;
        }
        for (const uint32_t from : experts_) {
            p.count_from[from] += 1;
            uint32_t * both = &p.both[size_t{from} * p.to.n_expert];
            for (const uint32_t to : next_experts_) {
                both[to] += 1;
            }
        }
    }
}

coactivation_result coactivation::result() const {
    coactivation_result r{within_, between_};
    for (pair_counts & p : r.within) {
        const size_t n = p.from.n_expert;
        p.count_to     = p.count_from;
        for (size_t a = 0; a < n; ++a) {
            for (size_t b = 0; b < a; ++b) {
                p.both[a * n + b] = p.both[b * n + a];
            }
        }
    }
    sort_pairs(r.within);
    sort_pairs(r.between);
    return r;
}

}  // namespace moescope::analysis
