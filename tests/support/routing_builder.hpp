#pragma once

// Routing written out by hand, for tests whose answers are worked out by hand: one call per token, any shape.

#include <cstdint>
#include <deque>
#include <vector>

#include "core/routing.hpp"

namespace moescope::testing {

// What one token's row holds in one block.
struct row {
    std::vector<uint32_t> ids;
    std::vector<float>    weights    = {};  // the columns that the block's layout names must be given in every row
    std::vector<float>    probs      = {};
    std::vector<float>    gate_input = {};
};

struct token_rows {
    int32_t          token = -1, pos = -1, seq = -1;
    phase            how = phase::prefill;
    std::vector<row> blocks;  // parallel to the layout; a row without ids: this block did not compute the token
};

inline block_layout block_of(int32_t layer, uint32_t n_expert, uint32_t k, column_set columns = column::ids,
                             uint32_t n_embd = 0) {
    block_layout b;
    b.layer         = layer;
    b.n_expert      = n_expert;
    b.n_expert_used = k;
    b.n_embd        = n_embd;
    b.columns       = columns | column::ids;
    return b;
}

// Ubatches of one layout. Owns what its views show.
class routing_builder {
public:
    explicit routing_builder(graph_layout layout) : layout_(std::move(layout)) {}

    routing_builder & ubatch(const std::vector<token_rows> & tokens) {
        held & u = all_.emplace_back();
        u.data.resize(layout_.size());
        u.blocks.resize(layout_.size());
        for (const token_rows & t : tokens) {
            u.token.push_back(t.token);
            u.pos.push_back(t.pos);
            u.seq.push_back(t.seq);
            u.phases.push_back(static_cast<uint8_t>(t.how));
        }
        for (size_t b = 0; b < layout_.size(); ++b) {
            fill(u, b, tokens);
        }
        u.view.time_ns = 1000 * all_.size();
        u.view.batch   = static_cast<uint32_t>(all_.size() - 1);
        u.view.token   = u.token;
        u.view.pos     = u.pos;
        u.view.seq     = u.seq;
        u.view.phases  = u.phases;
        u.view.layout  = &layout_;
        u.view.blocks  = u.blocks;
        return *this;
    }
    // One ubatch of one token.
    routing_builder & token(int32_t seq, int32_t pos, std::vector<row> blocks, phase how = phase::decode,
                            int32_t id = -1) {
        return ubatch({{id, pos, seq, how, std::move(blocks)}});
    }

    void feed(routing_sink & sink) const {
        sink.model({});
        for (const held & u : all_) {
            sink.ubatch(u.view);
        }
    }
    const graph_layout & layout() const { return layout_; }

private:
    struct block_data {
        std::vector<int32_t> row_token;
        std::vector<uint8_t> ids;
        std::vector<float>   values[n_float_columns];
    };
    struct held {
        std::vector<int32_t>    token, pos, seq;
        std::vector<uint8_t>    phases;
        std::vector<block_data> data;
        std::vector<block_rows> blocks;
        routed_ubatch           view;
    };

    void fill(held & u, size_t b, const std::vector<token_rows> & tokens) {
        const block_layout & l = layout_[b];
        block_data &         d = u.data[b];
        block_rows &         r = u.blocks[b];
        r.layout               = &l;
        for (size_t t = 0; t < tokens.size(); ++t) {
            const row & given = tokens[t].blocks.at(b);
            if (given.ids.empty()) {
                continue;
            }
            r.n_rows += 1;
            d.row_token.push_back(static_cast<int32_t>(t));
            for (const uint32_t id : given.ids) {
                for (uint32_t i = 0; i < l.id_bytes(); ++i) {
                    d.ids.push_back(static_cast<uint8_t>(id >> (8 * i)));
                }
            }
            for (size_t c = 0; c < n_float_columns; ++c) {
                const column column = float_columns[c];
                const auto & v      = column == column::weights ? given.weights
                                      : column == column::probs ? given.probs
                                                                : given.gate_input;
                if (l.columns.has(column)) {
                    d.values[c].insert(d.values[c].end(), v.begin(), v.end());
                }
            }
        }
        if (d.row_token.size() != tokens.size()) {
            r.row_token = d.row_token;
        }
        r.ids = d.ids.data();
        for (size_t c = 0; c < n_float_columns; ++c) {
            r.values[c] = l.columns.has(float_columns[c]) ? d.values[c].data() : nullptr;
        }
    }

    graph_layout     layout_;
    std::deque<held> all_;
};

}  // namespace moescope::testing
