#include "stats/saliency.hpp"

#include <algorithm>

#include "core/block_table.hpp"
#include "core/error.hpp"

namespace moescope::stats {

namespace {

std::string name_of(const block_id & b) {
    return "layer " + std::to_string(b.layer) + (b.block > 0 ? ", block " + std::to_string(b.block) : "");
}

// Empty sums of a block of this shape: a block_layout, or another saliency_block.
template <class Shape>
saliency_block block_like(const Shape & shape, size_t n_labels) {
    saliency_block b;
    b.layer         = shape.layer;
    b.block         = shape.block;
    b.n_expert      = shape.n_expert;
    b.n_expert_used = shape.n_expert_used;
    b.flags         = shape.flags;
    b.count.resize(b.n_expert);
    b.gate.resize(b.n_expert);
    b.gated_norm.resize(b.n_expert);
    b.norm.resize(b.n_expert);
    b.max_norm.resize(b.n_expert);
    b.label_rows.resize(n_labels);
    b.label_count.resize(n_labels * b.n_expert);
    return b;
}

// The block of this id in a list ordered by ids; inserts an empty one of this shape where there is none.
template <class Shape>
saliency_block & find_or_insert(std::vector<saliency_block> & blocks, const Shape & like, size_t n_labels) {
    auto it = std::lower_bound(blocks.begin(), blocks.end(), like.id());
    if (it == blocks.end() || it->id() != like.id()) {
        it = blocks.insert(it, block_like(like, n_labels));
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

saliency_block & saliency::block_of(const block_layout & l, size_t hint) {
    const size_t i     = find_block(blocks_, l, hint);
    const bool   known = i < blocks_.size() && blocks_[i].n_expert == l.n_expert &&
                       (blocks_[i].n_expert_used == l.n_expert_used || missing_ == missing_columns::left_out);
    return known ? blocks_[i] : find_or_insert(blocks_, l, n_labels_);
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
}

void saliency::add_labels(saliency_block & b, const block_rows & rows, const routed_ubatch & u) {
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        const int32_t token = rows.token_of(r);
        const int32_t seq   = token < 0 ? -1 : u.seq[static_cast<size_t>(token)];
        if (seq < 0 || static_cast<size_t>(seq) >= label_of_sequence_.size()) {
            continue;  // whose row this is, is not known: it counts for no label
        }
        const uint32_t label = label_of_sequence_[static_cast<size_t>(seq)];
        b.label_rows[label] += 1;
        for (uint32_t i = 0; i < b.n_expert_used; ++i) {
            b.label_count[size_t(label) * b.n_expert + rows.id(size_t(r) * b.n_expert_used + i)] += 1;
        }
    }
}

void saliency::add(const std::vector<saliency_block> & blocks) {
    for (const saliency_block & from : blocks) {
        saliency_block & to = find_or_insert(blocks_, from, from.label_rows.size());
        to.rows += from.rows;
        add_array(to.count, from.count);
        add_array(to.gate, from.gate);
        add_array(to.gated_norm, from.gated_norm);
        add_array(to.norm, from.norm);
        add_array(to.label_rows, from.label_rows);
        add_array(to.label_count, from.label_count);
        for (size_t e = 0; e < from.max_norm.size(); ++e) {
            to.max_norm[e] = std::max(to.max_norm[e], from.max_norm[e]);
        }
    }
}

void saliency::clear() {
    tokens_ = 0;
    for (saliency_block & b : blocks_) {
        b = block_like(b, n_labels_);
    }
}

}  // namespace moescope::stats
