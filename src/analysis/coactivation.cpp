#include "analysis/coactivation.hpp"

#include <algorithm>
#include <tuple>

#include "analysis/tools/rows_by_token.hpp"
#include "core/memory_limit.hpp"

namespace moescope::analysis {

namespace {

pair_counts & find_pair(std::vector<pair_counts> & all, const block_layout & a, const block_layout & b, size_t hint) {
    const auto matches = [&](const pair_counts & p) { return p.from.id() == a.id() && p.to.id() == b.id(); };
    if (hint < all.size() && matches(all[hint])) {
        return all[hint];
    }
    const auto it = std::find_if(all.begin(), all.end(), matches);
    return it != all.end() ? *it : all.emplace_back(a, b);
}

// The experts that a row selects. once: each once, however often the row selects it.
void experts_of(const block_rows & rows, size_t row, bool once, std::vector<uint32_t> & experts) {
    const size_t k = rows.layout->n_expert_used;
    experts.clear();
    rows.visit_ids([&](auto * ids) {
        for (size_t i = row * k; i < (row + 1) * k; ++i) {
            const uint32_t id = ids[i];
            if (id < rows.layout->n_expert &&
                (!once || std::find(experts.begin(), experts.end(), id) == experts.end())) {
                experts.push_back(id);
            }
        }
    });
}

bool repeats_ids(const block_rows & rows) {
    return rows.layout->has(block_layout::ids_repeat);
}

// One row of k experts. A pair counts in the cell that its order in the row says: finding the smaller id would take longer
// than counting.
template <class Id>
void add_row(pair_counts & p, const Id * ids, size_t k) {
    for (size_t i = 0; i < k; ++i) {
        p.count_from[ids[i]] += 1;
        uint32_t * both = &p.both[size_t{ids[i]} * p.from.n_expert];
        for (size_t j = i + 1; j < k; ++j) {
            both[ids[j]] += 1;
        }
    }
}

}  // namespace

pair_counts::pair_counts(const block_layout & a, const block_layout & b)
    : from(a),
      to(b),
      count_from(a.n_expert),
      count_to(b.n_expert),
      both(size_t{a.n_expert} * b.n_expert) {}

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

void require_memory_for_pairs(const graph_layout & blocks) {
    double   cells  = 0;
    uint32_t before = 0, most = 0;
    for (const block_layout & b : blocks) {
        cells += double(b.n_expert) * (double(b.n_expert) + before);
        before = b.n_expert;
        most   = std::max(most, b.n_expert);
    }
    require_memory("a table of all pairs of " + std::to_string(most) + " experts in " + std::to_string(blocks.size()) +
                       " blocks",
                   cells * sizeof(uint32_t));
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

void pairs_within::ubatch(const routed_ubatch & u) {
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        add_rows(blocks_.at(*u.blocks[i].layout, i), u.blocks[i]);
    }
}

void pairs_within::add_rows(pair_counts & p, const block_rows & rows) {
    const size_t k = rows.layout->n_expert_used, n = rows.n_rows * k;
    p.rows += rows.n_rows;
    rows.visit_ids([&](auto * ids) {
        const bool once = count_ == repeats::once && repeats_ids(rows);
        if (once || std::any_of(ids, ids + n, [&](auto id) { return id >= rows.layout->n_expert; })) {
            for (size_t r = 0; r < rows.n_rows; ++r) {
                experts_of(rows, r, once, experts_);
                add_row(p, experts_.data(), experts_.size());
            }
            return;
        }
        for (size_t at = 0; at < n; at += k) {
            add_row(p, ids + at, k);
        }
    });
}

std::vector<pair_counts> pairs_within::result() const {
    std::vector<pair_counts> all;
    for (const pair_counts * counted : blocks_.sorted()) {
        pair_counts & p = all.emplace_back(*counted);
        const size_t  n = p.from.n_expert;
        p.count_to      = p.count_from;
        for (size_t a = 0; a < n; ++a) {
            for (size_t b = 0; b < a; ++b) {
                const uint32_t sum = p.both[a * n + b] + p.both[b * n + a];
                p.both[a * n + b] = p.both[b * n + a] = sum;
            }
        }
    }
    return all;
}

std::vector<uint64_t> pairs_within::triangle(const block_id & block) const {
    std::vector<uint64_t> cells;
    if (const pair_counts * p = blocks_.find(block)) {
        const uint32_t n = p->from.n_expert;
        cells.reserve(size_t{n} * (n - 1) / 2);
        for (uint32_t a = 0; a < n; ++a) {
            for (uint32_t b = a + 1; b < n; ++b) {
                cells.push_back(uint64_t{p->n_both(a, b)} + p->n_both(b, a));
            }
        }
    }
    return cells;
}

void coactivation::ubatch(const routed_ubatch & u) {
    within_.ubatch(u);
    for (size_t i = 1; i < u.blocks.size(); ++i) {
        const block_rows &a = u.blocks[i - 1], &b = u.blocks[i];
        add_between(find_pair(between_, *a.layout, *b.layout, i - 1), u, a, b);
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
        experts_of(a, static_cast<size_t>(row), repeats_ids(a), experts_);
        experts_of(b, r, repeats_ids(b), next_experts_);
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
    coactivation_result r{within_.result(), between_};
    std::sort(r.between.begin(), r.between.end(),
              [](const pair_counts & a, const pair_counts & b) { return a.from.id() < b.from.id(); });
    return r;
}

}  // namespace moescope::analysis
