#pragma once

// Routing that follows from formulas, for tests that compare what was written with what is read. Nothing here knows
// how a trace or an export looks.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/routing.hpp"
#include "core/ubatch_buffer.hpp"

namespace moescope::test::planted {

struct plan {
    uint32_t             n_expert     = 16;
    uint32_t             k            = 4;
    uint32_t             n_embd       = 6;
    std::vector<int32_t> layers       = {1, 2, 3};
    column_set           columns      = column_set::all();
    uint32_t             n_prompt     = 5;  // tokens per sequence
    uint32_t             n_generated  = 3;  // tokens per sequence, one ubatch each
    uint32_t             n_seq        = 1;
    uint32_t             n_ubatch     = 3;      // most tokens of a prompt's ubatch
    bool                 last_only    = true;   // the last layer computes a prompt's last row alone
    bool                 second_block = false;  // a GroveMoE-like second block in the first layer
    bool                 unknown      = false;  // tokens, positions and sequences are not known
};

// ---- the formulas ----------------------------------------------------------------------------------------------

// How high expert e stands for a token: 0 is selected first.
inline uint32_t rank_of(const plan & p, int32_t layer, int32_t pos, int32_t seq, uint32_t e) {
    const uint32_t first = static_cast<uint32_t>(7 * pos + 3 * layer + 5 * seq) % p.n_expert;
    return (e + p.n_expert - first) % p.n_expert;
}
inline uint32_t id_of(const plan & p, int32_t layer, int32_t pos, int32_t seq, uint32_t rank) {
    return (static_cast<uint32_t>(7 * pos + 3 * layer + 5 * seq) + rank) % p.n_expert;
}
// The value of a column for expert `id`, which stands at `rank`; of gate-input for element j = id.
inline float value_of(const plan & p, column column, int32_t layer, int32_t pos, uint32_t id, uint32_t rank) {
    switch (column) {
        case column::weights: return static_cast<float>(std::exp2(-1.0 - rank) / (1.0 - std::exp2(-double(p.k))));
        case column::logits: return static_cast<float>(2.0 - 0.25 * rank);
        case column::norms: return static_cast<float>(1.0 + layer + 0.125 * id);
        case column::gate_input:
            return static_cast<float>((pos + 1) * (double(id) - double(p.n_embd) / 2) / 16 + layer);
        default: return static_cast<float>(std::exp2(-1.0 - rank));  // weights-raw, probs, selection
    }
}
inline int32_t token_of(int32_t pos, int32_t seq) {
    return 100 + 10 * pos + seq;
}
inline std::string piece_of(int32_t token) {
    return " t" + std::to_string(token);
}

// ---- ubatches that hold their own memory -----------------------------------------------------------------------

// A test may bend `blocks`, and through owner.ids() and owner.values() what they show.
struct ubatch_data {
    ubatch_buffer           owner;
    std::vector<block_rows> blocks;
    routed_ubatch           view;
};

inline graph_layout layout_of(const plan & p) {
    graph_layout layout;
    for (size_t i = 0; i < p.layers.size(); ++i) {
        block_layout b;
        b.layer         = p.layers[i];
        b.n_expert      = p.n_expert;
        b.n_expert_used = p.k;
        b.n_embd        = p.n_embd;
        b.columns       = p.columns | column::ids;
        b.weight_sum    = 1;
        layout.push_back(b);
        if (p.second_block && i == 0) {
            b.block      = 1;
            b.n_expert   = (p.n_expert + 1) / 2;
            b.columns    = column::ids | column::weights;
            b.flags      = block_layout::ids_repeat;
            b.weight_sum = 0;
            layout.push_back(b);
        }
    }
    return layout;
}

// Appends the block's rows to u, whose tokens are known.
inline void fill_block(const plan & p, ubatch_buffer & u, const block_layout & l, bool last_row_only) {
    const auto     n_tokens = static_cast<uint32_t>(u.token.size());
    const uint32_t n_rows   = last_row_only ? 1 : n_tokens;
    u.layout.push_back(l);
    u.add_block(n_rows, last_row_only);
    if (last_row_only) {
        u.row_tokens()[0] = static_cast<int32_t>(n_tokens) - 1;
    }
    for (uint32_t r = 0; r < n_rows; ++r) {
        const size_t  t   = last_row_only ? n_tokens - 1 : r;
        const int32_t pos = u.pos[t], seq = u.seq[t];
        for (uint32_t rank = 0; rank < p.k; ++rank) {
            const uint32_t id = id_of(p, l.layer, pos, seq, rank);
            u.set_id(size_t{r} * p.k + rank, l.block == 0 ? id : id / 2);
        }
        for (size_t c = 0; c < n_float_columns; ++c) {
            const column column = float_columns[c];
            float *      values = u.values(c);
            for (uint32_t j = 0; values != nullptr && j < l.width(column); ++j) {
                const bool per_rank =
                    column == column::weights || column == column::weights_raw || column == column::norms;
                const uint32_t id                       = per_rank ? id_of(p, l.layer, pos, seq, j) : j;
                const uint32_t rank                     = per_rank ? j : rank_of(p, l.layer, pos, seq, j);
                values[size_t{r} * l.width(column) + j] = value_of(p, column, l.layer, pos, id, rank);
            }
        }
    }
}

// The plan's ubatches in order. `layout` must outlive them.
inline std::vector<ubatch_data> make_ubatches(const plan & p, const graph_layout & layout) {
    std::vector<ubatch_data> all;
    const auto               add = [&](uint32_t first, uint32_t n_pos, phase ph) {
        ubatch_buffer & u = all.emplace_back().owner;
        u.set_tokens(size_t{n_pos} * p.n_seq);
        for (uint32_t i = 0; i < n_pos * p.n_seq; ++i) {
            u.pos[i]    = static_cast<int32_t>(first + i / p.n_seq);
            u.seq[i]    = static_cast<int32_t>(i % p.n_seq);
            u.token[i]  = token_of(u.pos[i], u.seq[i]);
            u.phases[i] = static_cast<uint8_t>(ph);
        }
    };
    const uint32_t step = std::max(1u, p.n_ubatch / p.n_seq);
    for (uint32_t at = 0; at < p.n_prompt; at += step) {
        add(at, std::min(step, p.n_prompt - at), phase::prefill);
    }
    for (uint32_t g = 0; g < p.n_generated; ++g) {
        add(p.n_prompt + g, 1, phase::decode);
    }
    uint32_t index = 0, batch = 0;
    for (ubatch_data & data : all) {
        ubatch_buffer & u = data.owner;
        for (size_t i = 0; i < layout.size(); ++i) {
            const bool last_row = p.last_only && i + 1 == layout.size() && u.token.size() > 1 && p.n_seq == 1;
            fill_block(p, u, layout[i], last_row);
        }
        if (p.unknown) {
            u.token.assign(u.token.size(), -1);
            u.pos = u.seq = u.token;
        }
        u.time_ns = 1'000'000ull * index++;
        // The prompt is one llama_decode call, however many ubatches it takes.
        u.batch = u.phases[0] == static_cast<uint8_t>(phase::decode) ? ++batch : 0;

        data.view = u.view();
        data.blocks.assign(data.view.blocks.begin(), data.view.blocks.end());
        for (size_t i = 0; i < layout.size(); ++i) {
            data.blocks[i].layout = &layout[i];
        }
        data.view.layout = &layout;
        data.view.blocks = data.blocks;
    }
    return all;
}

inline model_info model_of(const plan & p) {
    model_info m;
    m.architecture  = "planted";
    m.name          = "planted by formula";
    m.file          = "planted.gguf";
    m.file_size     = 4096;
    m.n_layer       = static_cast<uint32_t>(p.layers.back()) + 1;
    m.n_expert      = p.n_expert;
    m.n_expert_used = p.k;
    m.n_embd        = p.n_embd;
    m.n_vocab       = 1000;
    m.metadata      = {{"planted.expert_count", std::to_string(p.n_expert)}};
    return m;
}

// Hands the whole plan to a sink as a capture would.
// after: told how many ubatches there were so far, behind each.
inline void feed(const plan & p, const std::vector<ubatch_data> & ubatches, routing_sink & sink,
                 const std::function<void(size_t)> & after = {}) {
    size_t n = 0;
    sink.model(model_of(p));
    for (const ubatch_data & u : ubatches) {
        for (const int32_t t : u.view.token) {
            if (t >= 0) {
                sink.piece(t, piece_of(t));
            }
        }
        sink.ubatch(u.view);
        if (after) {
            after(++n);
        }
    }
}

}  // namespace moescope::test::planted
