#include "analysis/frequency.hpp"

#include <cmath>
#include <numeric>

namespace moescope::analysis {

namespace {

// The kind of all rows of a ubatch, where it is one and the same and every row's token is known.
bool uniform_kind(const routed_ubatch & u, row_kind & kind) {
    if (u.phases.empty()) {
        return false;
    }
    for (const uint8_t p : u.phases) {
        if (p != u.phases[0]) {
            return false;
        }
    }
    kind = static_cast<row_kind>(u.phases[0]);
    return true;
}

row_kind kind_of(const routed_ubatch & u, int32_t token) {
    const bool known = token >= 0 && static_cast<size_t>(token) < u.phases.size();
    return known ? static_cast<row_kind>(u.phases[static_cast<size_t>(token)]) : row_kind::unplaced;
}

template <class Id>
void count_ids(const Id * ids, size_t n, uint64_t * count) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        count[ids[i]] += 1;
        count[ids[i + 1]] += 1;
        count[ids[i + 2]] += 1;
        count[ids[i + 3]] += 1;
    }
    for (; i < n; ++i) {
        count[ids[i]] += 1;
    }
}

// 4-byte ids have no table that holds them all: what is out of range goes into the last entry.
void count_ids(const uint32_t * ids, size_t n, uint64_t * count, size_t n_expert) {
    for (size_t i = 0; i < n; ++i) {
        count[std::min<size_t>(ids[i], n_expert)] += 1;
    }
}

void add_rows(const block_rows & rows, uint32_t first, uint32_t n, std::vector<uint64_t> & count) {
    rows.visit_ids([&](auto * ids) {
        const size_t k = rows.layout->n_expert_used;
        if constexpr (sizeof(*ids) == 4) {
            count_ids(ids + first * k, n * k, count.data(), count.size() - 1);
        } else {
            count_ids(ids + first * k, n * k, count.data());
        }
    });
}

// Most layers have the same shape and rows, so that what chance gives is drawn once for them.
bool same_chance(const block_frequency & a, const block_frequency & b) {
    return a.n_rows == b.n_rows && a.layout.n_expert == b.layout.n_expert &&
           a.layout.n_expert_used == b.layout.n_expert_used &&
           a.layout.has(block_layout::ids_repeat) == b.layout.has(block_layout::ids_repeat);
}

void add_measures(frequency_result & r) {
    for (block_frequency & b : r.blocks) {
        b.measured = measure_balance(b.total);
        r.by_id.resize(std::max(r.by_id.size(), b.total.size()));
        for (size_t e = 0; e < b.total.size(); ++e) {
            r.by_id[e] += b.total[e];
        }
    }
}

frequency_result with_chance(frequency_result r) {
    const block_frequency * before = nullptr;
    for (block_frequency & b : r.blocks) {
        b.chance = before != nullptr && same_chance(*before, b)
                       ? before->chance
                       : balance_by_chance(b.n_rows, b.layout.n_expert_used, b.layout.n_expert,
                                           !b.layout.has(block_layout::ids_repeat));
        before   = &b;
    }
    return r;
}

}  // namespace

interval block_frequency::share_interval(size_t e) const {
    if (n_rows == 0 || layout.n_expert_used == 0) {
        return {};
    }
    const double k = layout.n_expert_used;
    if (layout.has(block_layout::ids_repeat)) {
        return wilson(total[e], measured.selections);
    }
    const interval of_rows = wilson(total[e], n_rows);  // how often a row selects e
    return {of_rows.low / k, of_rows.high / k};
}

uint64_t frequency_result::selections() const {
    return std::accumulate(by_id.begin(), by_id.end(), uint64_t{0});
}

uint64_t frequency_result::n_experts() const {
    uint64_t n = 0;
    for (const block_frequency & b : blocks) {
        n += b.layout.n_expert;
    }
    return n;
}

uint64_t frequency_result::n_dead() const {
    double n = 0;
    for (const block_frequency & b : blocks) {
        n += b.measured.dead;
    }
    return static_cast<uint64_t>(n);
}

frequency::block::block(const block_layout & l) : layout(l) {
    const size_t reach = l.id_bytes() == 1 ? 0x100 : l.id_bytes() == 2 ? 0x10000 : size_t{l.n_expert} + 1;
    for (auto & c : count) {
        c.resize(reach);
    }
}

void frequency::ubatch(const routed_ubatch & u) {
    ubatches_ += 1;
    tokens_ += u.n_tokens();
    for (const uint8_t p : u.phases) {
        decoded_ += p == static_cast<uint8_t>(phase::decode);
    }
    row_kind   all;
    const bool uniform = uniform_kind(u, all), with_probs = probs_ == router_probs::measured;
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        const block_rows & rows = u.blocks[i];
        block &            b    = blocks_.at(*rows.layout, i);
        if (uniform && rows.row_token.empty()) {
            const auto kind = static_cast<size_t>(all);
            b.rows[kind] += rows.n_rows;
            add_rows(rows, 0, rows.n_rows, b.count[kind]);
        } else {
            for (uint32_t r = 0; r < rows.n_rows; ++r) {
                const auto kind = static_cast<size_t>(kind_of(u, rows.token_of(r)));
                b.rows[kind] += 1;
                add_rows(rows, r, 1, b.count[kind]);
            }
        }
        if (with_probs && rows.values_of(column::probs) != nullptr) {
            add_probs(b, rows);
        }
    }
}

void frequency::add_probs(block & b, const block_rows & rows) {
    const float * p = rows.values_of(column::probs);
    const size_t  n = b.layout.n_expert;
    if (n < 2) {
        return;
    }
    for (uint32_t r = 0; r < rows.n_rows; ++r, p += n) {
        double sum = 0, largest = 0, second = 0;
        bool   good = true;
        for (size_t e = 0; e < n; ++e) {
            const double v = p[e];
            good           = good && v >= 0 && std::isfinite(v);
            sum += v;
            second  = v > largest ? largest : std::max(second, v);
            largest = std::max(largest, v);
        }
        if (!good || sum <= 0) {
            bad_probs_ += 1;
            continue;
        }
        double entropy = 0;
        for (size_t e = 0; e < n; ++e) {
            const double v = p[e] / sum;
            entropy -= v > 0 ? v * std::log(v) : 0;
        }
        b.router_entropy.add(entropy / std::log(static_cast<double>(n)));
        b.top1_margin.add((largest - second) / sum);
    }
}

frequency_result frequency::result() const {
    return with_chance(counts());
}

frequency_result frequency::counts() const {
    frequency_result r;
    r.tokens    = tokens_;
    r.decoded   = decoded_;
    r.ubatches  = ubatches_;
    r.bad_probs = bad_probs_;
    for (const block * b : blocks_.sorted()) {
        block_frequency f;
        f.layout = b->layout;
        f.rows   = b->rows;
        f.total.resize(b->layout.n_expert);
        for (size_t kind = 0; kind < n_row_kinds; ++kind) {
            f.n_rows += b->rows[kind];
            f.count[kind].assign(b->count[kind].begin(), b->count[kind].begin() + b->layout.n_expert);
            r.invalid_ids +=
                std::accumulate(b->count[kind].begin() + b->layout.n_expert, b->count[kind].end(), uint64_t{0});
            for (size_t e = 0; e < f.total.size(); ++e) {
                f.total[e] += f.count[kind][e];
            }
        }
        f.router_entropy = b->router_entropy;
        f.top1_margin    = b->top1_margin;
        r.blocks.push_back(std::move(f));
    }
    add_measures(r);
    return r;
}

frequency_result frequency_of(const expert_counts & counts) {
    return with_chance(counts_of(counts));
}

frequency_result counts_of(const expert_counts & counts) {
    frequency_result r;
    r.tokens     = counts.tokens;
    r.decoded    = counts.decoded;
    r.ubatches   = counts.ubatches;
    r.has_phases = false;
    for (const size_t i : by_layer_and_block(
             counts.layout.size(), [&](size_t b) -> auto & { return counts.layout[b]; })) {
        const expert_counts::block & b = counts.blocks[i];
        block_frequency              f;
        f.layout                                       = counts.layout[i];
        f.total                                        = b.count;
        f.n_rows                                       = b.rows;
        f.rows[static_cast<size_t>(row_kind::decode)]  = b.rows_decoded;
        f.rows[static_cast<size_t>(row_kind::prefill)] = b.rows - b.rows_decoded;
        r.blocks.push_back(std::move(f));
    }
    add_measures(r);
    return r;
}

}  // namespace moescope::analysis
