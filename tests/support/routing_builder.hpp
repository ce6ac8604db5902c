#pragma once

// Routing written out by hand, for tests whose answers are worked out by hand: one call per token, any shape.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "core/routing.hpp"
#include "core/ubatch_buffer.hpp"

namespace moescope::test {

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
        held &          h = all_.emplace_back();
        ubatch_buffer & u = h.owner;
        u.time_ns         = 1000 * all_.size();
        u.batch           = static_cast<uint32_t>(all_.size() - 1);
        u.layout          = layout_;
        u.set_tokens(tokens.size());
        for (size_t t = 0; t < tokens.size(); ++t) {
            u.token[t]  = tokens[t].token;
            u.pos[t]    = tokens[t].pos;
            u.seq[t]    = tokens[t].seq;
            u.phases[t] = static_cast<uint8_t>(tokens[t].how);
        }
        for (size_t b = 0; b < layout_.size(); ++b) {
            add_block(u, b, tokens);
        }
        h.view = u.view();
        return *this;
    }
    // One ubatch of one token.
    routing_builder & token(int32_t seq, int32_t pos, std::vector<row> blocks, phase how = phase::decode,
                            int32_t id = -1) {
        return ubatch({{id, pos, seq, how, std::move(blocks)}});
    }

    // What the program did to its memory just before the latest ubatch.
    routing_builder & behind(memory_event e) {
        held & h = all_.back();
        h.events.push_back(std::move(e));
        h.view.memory = {h.events.data(), h.events.size()};
        return *this;
    }

    void feed(routing_sink & sink) const {
        sink.model({});
        for (const held & u : all_) {
            sink.ubatch(u.view);
        }
    }
    const graph_layout & layout() const { return layout_; }

private:
    struct held {
        ubatch_buffer             owner;
        routed_ubatch             view;
        std::vector<memory_event> events;
    };

    void add_block(ubatch_buffer & u, size_t b, const std::vector<token_rows> & tokens) {
        std::vector<size_t> computed;  // the tokens that the block has rows of
        for (size_t t = 0; t < tokens.size(); ++t) {
            if (!tokens[t].blocks.at(b).ids.empty()) {
                computed.push_back(t);
            }
        }
        const bool all = computed.size() == tokens.size();
        u.add_block(static_cast<uint32_t>(computed.size()), !all);
        size_t i = 0;
        for (size_t r = 0; r < computed.size(); ++r) {
            const row & given = tokens[computed[r]].blocks[b];
            if (!all) {
                u.row_tokens()[r] = static_cast<int32_t>(computed[r]);
            }
            for (const uint32_t id : given.ids) {
                u.set_id(i++, id);
            }
            put(u, b, r, column::weights, given.weights);
            put(u, b, r, column::probs, given.probs);
            put(u, b, r, column::gate_input, given.gate_input);
        }
    }
    void put(ubatch_buffer & u, size_t b, size_t r, column c, const std::vector<float> & given) const {
        if (float * to = u.values(column_index(c))) {
            std::copy(given.begin(), given.end(), to + r * layout_[b].width(c));
        }
    }

    graph_layout     layout_;
    std::deque<held> all_;
};

}  // namespace moescope::test
