#include "stats/saliency.hpp"

#include <algorithm>

#include "core/block_table.hpp"
#include "core/error.hpp"
#include "stats/removal.hpp"
#include "stats/score_rows.hpp"

namespace moescope::stats {

namespace {

std::string name_of(const block_id & b) {
    return "layer " + std::to_string(b.layer) + (b.block > 0 ? ", block " + std::to_string(b.block) : "");
}

// Sums of gates and norms alone, all 0.
saliency_block empty_block(const block_id & id, uint32_t n_expert, uint32_t n_expert_used, uint32_t flags,
                           size_t n_labels) {
    saliency_block b;
    b.layer         = id.layer;
    b.block         = id.block;
    b.n_expert      = n_expert;
    b.n_expert_used = n_expert_used;
    b.flags         = flags;
    b.count.resize(n_expert);
    b.gate.resize(n_expert);
    b.gated_norm.resize(n_expert);
    b.norm.resize(n_expert);
    b.max_norm.resize(n_expert);
    b.label_rows.resize(n_labels);
    b.label_count.resize(n_labels * n_expert);
    return b;
}

// Sums of a block that is captured like this, all 0. The second block of a layer (GroveMoE) has those of gates and norms.
saliency_block block_like(const block_layout & l, size_t n_labels, sum_set which) {
    saliency_block b = empty_block(l, l.n_expert, l.n_expert_used, l.flags, n_labels);
    if (which == sum_set::norms || l.block > 0) {
        return b;
    }
    b.norm_squared.resize(b.n_expert);
    b.gated_squared.resize(b.n_expert);
    b.easy_ep.resize(l.columns.has(column::gram) ? b.n_expert : 0);
    b.removal.resize(removal_errors::known(l) ? b.n_expert : 0);
    b.peak.resize(l.columns.has(column::peaks) ? b.n_expert : 0);
    b.pair_count.resize(n_pairs(b.n_expert));
    b.pair_product.resize(n_pairs(b.n_expert));
    for (const auto sum : all_expert_sums) {
        (b.label_sums.*sum).resize((b.*sum).size() * n_labels);
    }
    return b;
}

// The same sums as another block has, all 0.
saliency_block block_like(const saliency_block & o, size_t n_labels, sum_set) {
    saliency_block b = empty_block(o, o.n_expert, o.n_expert_used, o.flags, n_labels);
    b.peak.resize(o.peak.size());
    b.pair_count.resize(o.pair_count.size());
    b.pair_product.resize(o.pair_product.size());
    for (const auto sum : all_expert_sums) {
        (b.*sum).resize((o.*sum).size());
        (b.label_sums.*sum).resize((o.label_sums.*sum).size());
    }
    return b;
}

bool same_sums(const saliency_block & a, const saliency_block & b) {
    bool same = a.peak.size() == b.peak.size() && a.pair_count.size() == b.pair_count.size();
    for (const auto sum : all_expert_sums) {
        same = same && (a.*sum).size() == (b.*sum).size();
    }
    return same;
}

// The block of this id in a list ordered by ids; inserts an empty one of this shape where there is none.
template <class Shape>
saliency_block & find_or_insert(std::vector<saliency_block> & blocks, const Shape & like, size_t n_labels,
                                sum_set which) {
    auto it = std::lower_bound(blocks.begin(), blocks.end(), like.id());
    if (it == blocks.end() || it->id() != like.id()) {
        it = blocks.insert(it, block_like(like, n_labels, which));
    }
    const bool same_shape = it->n_expert == like.n_expert && it->n_expert_used == like.n_expert_used;
    if (same_shape && it->label_rows.size() == n_labels && it->flags != like.flags) {
        throw error(name_of(like) + " was captured otherwise in one profile than in the other, so they hold other sums")
            .fix("record both with the same --capture");
    }
    if (it->n_expert != like.n_expert || it->n_expert_used != like.n_expert_used || it->flags != like.flags ||
        it->label_rows.size() != n_labels) {
        throw error(name_of(like) + " has " + std::to_string(like.n_expert) + " experts, top-" +
                    std::to_string(like.n_expert_used) + " in one profile and " + std::to_string(it->n_expert) +
                    ", top-" + std::to_string(it->n_expert_used) + " in the other, or other labels");
    }
    return *it;
}

template <class T>
void join_maxima(std::vector<T> & to, const std::vector<T> & from) {
    for (size_t i = 0; i < from.size(); ++i) {
        to[i] = std::max(to[i], from[i]);
    }
}

template <class T>
void add_array(std::vector<T> & to, const std::vector<T> & from) {
    for (size_t i = 0; i < from.size(); ++i) {
        to[i] += from[i];
    }
}

// What n selections of one block add to its sums. Without `norm` or `gate`, nothing to the sums that need them.
template <class Id>
void add_selections(saliency_block & b, const Id * ids, size_t n, const float * gate, const float * norm, bool gated) {
    for (size_t i = 0; i < n; ++i) {
        b.count[ids[i]] += 1;
    }
    for (size_t i = 0; gate != nullptr && i < n; ++i) {
        b.gate[ids[i]] += static_cast<double>(gate[i]);
    }
    for (size_t i = 0; norm != nullptr && i < n; ++i) {
        const Id     e = ids[i];
        const double g = gate == nullptr ? 0 : gate[i], f = norm[i];
        b.norm[e] += f;
        b.gated_norm[e] += gated ? f : g * f;
        b.max_norm[e] = std::max(b.max_norm[e], norm[i]);
    }
}

// Keeps `with` the part of `count` that came with a column, before n more selections join them.
template <class Id>
void count_column(std::vector<uint64_t> & with, const std::vector<uint64_t> & count, const Id * ids, size_t n,
                  bool missing) {
    if (missing && with.empty()) {
        with = count;
    }
    for (size_t i = 0; !missing && !with.empty() && i < n; ++i) {
        with[ids[i]] += 1;
    }
}

}  // namespace

std::string to_string(gate_kind g) {
    return g == gate_kind::final ? "final" : "raw";
}

std::string to_string(sum_set s) {
    return s == sum_set::norms ? "norms" : "all";
}

saliency_block & saliency::block_of(const block_layout & l, size_t hint) {
    const size_t i     = find_block(blocks_, l, hint);
    const bool   known = i < blocks_.size() && blocks_[i].n_expert == l.n_expert &&
                       (blocks_[i].n_expert_used == l.n_expert_used || missing_ == missing_columns::left_out);
    return known ? blocks_[i] : find_or_insert(blocks_, l, n_labels_, which_);
}

void saliency::ubatch(const routed_ubatch & u) {
    tokens_ += u.n_tokens();
    for (size_t i = 0; i < u.blocks.size(); ++i) {
        const block_rows & rows = u.blocks[i];
        add_rows(block_of(*rows.layout, i), rows, u);
    }
}

void saliency::add_rows(saliency_block & b, const block_rows & rows, const routed_ubatch & u) {
    const bool    left_out = missing_ == missing_columns::left_out;
    const size_t  n        = size_t(rows.n_rows) * rows.layout->n_expert_used;
    const float * gate     = rows.values_of(gate_ == gate_kind::final ? column::weights : column::weights_raw);
    const float * norm     = left_out && gate == nullptr ? nullptr : rows.values_of(column::norms);
    if (!left_out && rows.n_rows > 0 && b.block == 0 && (gate == nullptr || norm == nullptr)) {
        throw error(name_of(b) + ": the capture has no " +
                    (norm == nullptr ? "norms" : to_string(gate_) + " gate weights"));
    }
    b.rows += rows.n_rows;
    rows.visit_ids([&](const auto * ids) {
        if (left_out) {
            count_column(b.count_gate, b.count, ids, n, gate == nullptr);
            count_column(b.count_norm, b.count, ids, n, norm == nullptr);
        }
        add_selections(b, ids, n, gate, norm, rows.layout->has(block_layout::norms_gated));
    });
    if (n_labels_ > 0) {
        add_labels(b, rows, u);
    }
    if (!b.norm_squared.empty()) {
        add_scores(b, rows, u);
    }
}

// Of a row; -1 where it is not known whose row it is: it counts for no label.
int64_t saliency::label_of(const block_rows & rows, uint32_t row, const routed_ubatch & u) const {
    const int32_t token = rows.token_of(row);
    const int32_t seq   = token < 0 ? -1 : u.seq[static_cast<size_t>(token)];
    return seq < 0 || static_cast<size_t>(seq) >= label_of_sequence_.size()
               ? -1
               : static_cast<int64_t>(label_of_sequence_[static_cast<size_t>(seq)]);
}

void saliency::add_labels(saliency_block & b, const block_rows & rows, const routed_ubatch & u) {
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        const int64_t label = label_of(rows, r, u);
        if (label < 0) {
            continue;
        }
        b.label_rows[static_cast<size_t>(label)] += 1;
        for (uint32_t i = 0; i < b.n_expert_used; ++i) {
            b.label_count[size_t(label) * b.n_expert + rows.id(size_t(r) * b.n_expert_used + i)] += 1;
        }
    }
}

// What sum_set::all has beside the sums of gates and norms.
void saliency::add_scores(saliency_block & b, const block_rows & rows, const routed_ubatch & u) {
    score_rows of(b, rows, gate_ == gate_kind::final ? column::weights : column::weights_raw);
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        of.add_row(r, n_labels_ > 0 ? label_of(rows, r, u) : -1);
    }
}

void saliency::add(const std::vector<saliency_block> & blocks) {
    for (const saliency_block & from : blocks) {
        saliency_block & to = find_or_insert(blocks_, from, from.label_rows.size(), which_);
        if (!same_sums(to, from)) {
            throw error(name_of(from) + " has other sums in one profile than in the other");
        }
        to.rows += from.rows;
        add_array(to.count, from.count);
        add_array(to.label_rows, from.label_rows);
        add_array(to.label_count, from.label_count);
        add_array(to.pair_count, from.pair_count);
        add_array(to.pair_product, from.pair_product);
        for (const auto sum : all_expert_sums) {
            add_array(to.*sum, from.*sum);
            add_array(to.label_sums.*sum, from.label_sums.*sum);
        }
        join_maxima(to.max_norm, from.max_norm);
        join_maxima(to.peak, from.peak);
    }
}

void saliency::clear() {
    tokens_ = 0;
    for (saliency_block & b : blocks_) {
        b = block_like(b, n_labels_, which_);
    }
}

}  // namespace moescope::stats
