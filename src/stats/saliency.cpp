#include "stats/saliency.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace moescope::stats {

namespace {

bool is_before(const saliency_block & b, int32_t layer, int32_t block) {
    return b.layer != layer ? b.layer < layer : b.block < block;
}

std::string name_of(int32_t layer, int32_t block) {
    return "layer " + std::to_string(layer) + (block > 0 ? ", block " + std::to_string(block) : "");
}

saliency_block make_block(int32_t layer, int32_t block, uint32_t n_expert, uint32_t n_expert_used, uint32_t flags,
                          uint32_t n_labels) {
    saliency_block b;
    b.layer         = layer;
    b.block         = block;
    b.n_expert      = n_expert;
    b.n_expert_used = n_expert_used;
    b.flags         = flags;
    b.count.resize(n_expert);
    b.gate.resize(n_expert);
    b.gated_norm.resize(n_expert);
    b.norm.resize(n_expert);
    b.max_norm.resize(n_expert);
    b.label_rows.resize(n_labels);
    b.label_count.resize(size_t(n_labels) * n_expert);
    return b;
}

// The block's place in a list ordered by (layer, block); inserts one like `like` where there is none.
saliency_block & find_or_insert(std::vector<saliency_block> & blocks, const saliency_block & like) {
    auto it =
        std::lower_bound(blocks.begin(), blocks.end(), like, [](const saliency_block & a, const saliency_block & b) {
            return is_before(a, b.layer, b.block);
        });
    if (it == blocks.end() || it->layer != like.layer || it->block != like.block) {
        const auto n_labels = static_cast<uint32_t>(like.label_rows.size());
        it                  = blocks.insert(it,
                                            make_block(like.layer, like.block, like.n_expert, like.n_expert_used, like.flags, n_labels));
    }
    if (it->n_expert != like.n_expert || it->n_expert_used != like.n_expert_used || it->flags != like.flags ||
        it->label_rows.size() != like.label_rows.size()) {
        throw error(name_of(like.layer, like.block) + " has " + std::to_string(like.n_expert) + " experts, top-" +
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

}  // namespace

std::string to_string(gate_kind g) {
    return g == gate_kind::final ? "final" : "raw";
}

saliency_block & saliency::block_of(const block_layout & l) {
    for (saliency_block & b : blocks_) {
        if (b.layer == l.layer && b.block == l.block && b.n_expert == l.n_expert &&
            b.n_expert_used == l.n_expert_used) {
            return b;
        }
    }
    return find_or_insert(blocks_, make_block(l.layer, l.block, l.n_expert, l.n_expert_used, l.flags, n_labels_));
}

void saliency::ubatch(const routed_ubatch & u) {
    tokens_ += u.n_tokens();
    for (const block_rows & rows : u.blocks) {
        saliency_block & b = block_of(*rows.layout);
        add_rows(b, rows, u);
    }
}

void saliency::add_rows(saliency_block & b, const block_rows & rows, const routed_ubatch & u) {
    const float * gate = rows.values_of(gate_ == gate_kind::final ? column::weights : column::weights_raw);
    const float * norm = rows.values_of(column::norms);
    if (rows.n_rows > 0 && b.block == 0 && (gate == nullptr || norm == nullptr)) {
        throw error(name_of(b.layer, b.block) + ": the capture has no " +
                    (norm == nullptr ? "norms" : to_string(gate_) + " gate weights"));
    }
    const bool   gated = b.norms_gated();
    const size_t n     = size_t(rows.n_rows) * b.n_expert_used;
    b.rows += rows.n_rows;
    rows.visit_ids([&](const auto * ids) {
        for (size_t i = 0; i < n; ++i) {
            const auto   e = ids[i];
            const double g = gate == nullptr ? 0 : gate[i], f = norm == nullptr ? 0 : norm[i];
            b.count[e] += 1;
            b.gate[e] += g;
            b.norm[e] += f;
            b.gated_norm[e] += gated ? f : g * f;
            b.max_norm[e] = std::max(b.max_norm[e], static_cast<float>(f));
        }
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
        saliency_block & to = find_or_insert(blocks_, from);
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
        b = make_block(b.layer, b.block, b.n_expert, b.n_expert_used, b.flags, n_labels_);
    }
}

}  // namespace moescope::stats
