#include "trace/frame.hpp"

#include <algorithm>
#include <type_traits>

#include "trace/pairs.hpp"

namespace moescope::trace {

namespace {

// More than any model has; keeps a hostile file from asking for the whole memory.
constexpr uint32_t max_blocks = 1u << 16;
constexpr uint32_t max_width  = 1u << 24;

span<const int32_t> take_i32(decoder & d, size_t n) {
    return {reinterpret_cast<const int32_t *>(d.take(uint64_t(n) * sizeof(int32_t))), n};
}

// No id exceeds the bits of all ids together, which are gathered many at a time; only where these are not below n_expert
// each id must be looked at.
void check_ids(const decoder & d, const block_rows & b) {
    const size_t n = size_t(b.n_rows) * b.layout->n_expert_used;
    b.visit_ids([&](auto * ids) {
        using id       = std::remove_const_t<std::remove_pointer_t<decltype(ids)>>;
        uint64_t words = 0;
        uint32_t bits  = 0;
        size_t   i     = 0;
        for (; i + sizeof(words) / sizeof(id) <= n; i += sizeof(words) / sizeof(id)) {
            uint64_t word;
            std::memcpy(&word, ids + i, sizeof(word));
            words |= word;
        }
        for (; i < n; ++i) {
            bits |= ids[i];
        }
        for (size_t half = 32; half >= 8 * sizeof(id); half /= 2) {  // all ids of the words into the lowest
            words |= words >> half;
        }
        bits |= static_cast<id>(words);
        if (bits >= b.layout->n_expert && n > 0 && *std::max_element(ids, ids + n) >= b.layout->n_expert) {
            d.fail("an expert id that the layer does not have");
        }
    });
}

// Who counts by phase relies on there being two.
span<const uint8_t> take_phases(decoder & d, uint32_t n) {
    const uint8_t * phases = d.take(n);
    uint8_t         bits   = 0;
    for (uint32_t i = 0; i < n; ++i) {
        bits |= phases[i];
    }
    if (bits > static_cast<uint8_t>(phase::decode)) {
        d.fail("a token of an unknown phase");
    }
    return {phases, n};
}

void read_block(decoder & d, uint32_t rows, uint32_t value_bytes, uint32_t n_tokens, block_rows & b,
                std::vector<float> & floats) {
    if (rows & ~(rows_mask | rows_have_tokens)) {
        d.fail("a block of rows that this moescope does not know");
    }
    b.n_rows    = rows & rows_mask;
    b.row_token = {};
    if (rows & rows_have_tokens) {
        b.row_token = take_i32(d, b.n_rows);
        for (const int32_t t : b.row_token) {
            if (t < -1 || t >= static_cast<int32_t>(n_tokens)) {
                d.fail("a row of a token that the frame does not have");
            }
        }
    } else if (b.n_rows > n_tokens) {
        d.fail("more rows than tokens");
    }
    b.ids = d.take(uint64_t(b.n_rows) * b.layout->n_expert_used * b.layout->id_bytes());
    d.skip_padding(4);
    check_ids(d, b);
    std::fill(std::begin(b.values), std::end(b.values), nullptr);
    for (size_t i = 0; i < n_float_columns; ++i) {
        if (!b.layout->columns.has(float_columns[i])) {
            continue;
        }
        const uint64_t  n  = uint64_t(b.n_rows) * b.layout->width(float_columns[i]);
        const uint8_t * at = d.take(n * value_bytes);
        if (value_bytes == 4) {
            b.values[i] = reinterpret_cast<const float *>(at);
            continue;
        }
        d.skip_padding(4);
        const auto * half  = reinterpret_cast<const uint16_t *>(at);
        const size_t start = floats.size();
        for (uint64_t j = 0; j < n; ++j) {
            floats.push_back(from_f16(half[j]));
        }
        b.values[i] = floats.data() + start;  // reserved by read_frame_body: does not move
    }
}

void read_blocks(decoder & d, const frame_header & h, const graph_layout & layout,
                 const std::vector<uint32_t> & value_bytes, span<const int32_t> rows, frame_views & views) {
    views.floats.clear();
    uint64_t widened = 0;
    for (const uint32_t bytes : value_bytes) {
        widened = bytes == 2 ? d.left() / 2 : widened;  // at most this many values lie in the frame
    }
    views.floats.reserve(widened);

    views.blocks.resize(h.n_blocks);
    for (uint32_t i = 0; i < h.n_blocks; ++i) {
        views.blocks[i].layout = &layout[i];
        read_block(d, static_cast<uint32_t>(rows[i]), value_bytes[i], h.n_tokens, views.blocks[i], views.floats);
    }
    if (d.left() >= frame_alignment) {
        d.fail("a frame that is longer than its rows");
    }
}

bool same_shape(const frame_views & v, const frame_header & h, const graph_layout & layout, span<const int32_t> rows) {
    return v.body != nullptr && v.layout == layout.data() && v.size == h.size && v.n_tokens == h.n_tokens &&
           std::equal(rows.begin(), rows.end(), v.rows.begin(), v.rows.end());
}

void remember_shape(frame_views & v, const frame_header & h, const graph_layout & layout,
                    const std::vector<uint32_t> & value_bytes, span<const int32_t> rows, const uint8_t * body) {
    const auto in_place = [](uint32_t bytes) { return bytes == 4; };
    const auto in_order = [](int32_t n) {
        return (static_cast<uint32_t>(n) & rows_have_tokens) == 0;
    };  // no list to check
    if (std::all_of(value_bytes.begin(), value_bytes.end(), in_place) &&
        std::all_of(rows.begin(), rows.end(), in_order)) {
        v.body     = body;
        v.layout   = layout.data();
        v.size     = h.size;
        v.n_tokens = h.n_tokens;
        v.rows.assign(rows.begin(), rows.end());
    }
}

// Points the blocks to where they pointed in the frame before, as seen from its beginning.
void move_views(const decoder & d, frame_views & v, const uint8_t * body) {
    const auto moved = [&](const void * p) { return body + (static_cast<const uint8_t *>(p) - v.body); };
    for (block_rows & b : v.blocks) {
        b.ids = moved(b.ids);
        for (const float *& column : b.values) {
            column = column != nullptr ? reinterpret_cast<const float *>(moved(column)) : nullptr;
        }
        check_ids(d, b);
    }
    v.body = body;
}

}  // namespace

graph_layout read_layout(decoder & d, std::vector<uint32_t> & value_bytes) {
    const uint32_t n = d.value<uint32_t>();
    if (n > max_blocks) {
        d.fail("a layout of " + std::to_string(n) + " blocks");
    }
    graph_layout layout;
    for (uint32_t i = 0; i < n; ++i) {
        const auto r = d.value<block_record>();
        if (r.n_expert == 0 || r.n_expert_used == 0 || r.n_expert > max_width || r.n_expert_used > max_width ||
            r.n_embd > max_width || (r.value_bytes != 4 && r.value_bytes != 2)) {
            d.fail("an impossible layout");
        }
        if ((r.columns & ~column_set::known().bits()) != 0 || (r.columns & column_set(column::ids).bits()) == 0) {
            d.fail("a layout with columns that this moescope does not know");  // their width, too, is unknown
        }
        block_layout b;
        b.layer         = r.layer;
        b.block         = r.block;
        b.n_expert      = r.n_expert;
        b.n_expert_used = r.n_expert_used;
        b.n_embd        = r.n_embd;
        b.flags         = r.flags;
        b.columns       = column_set::from_bits(r.columns);
        b.weight_sum    = r.weight_sum;
        layout.push_back(b);
        value_bytes.push_back(r.value_bytes);
    }
    return layout;
}

model_info read_model(const text_pairs & pairs) {
    model_info m;
    m.architecture  = find(pairs, "architecture");
    m.name          = find(pairs, "name");
    m.file          = find(pairs, "file");
    m.file_size     = number<uint64_t>(find(pairs, "file_size"));
    m.n_layer       = number<uint32_t>(find(pairs, "n_layer"));
    m.n_expert      = number<uint32_t>(find(pairs, "n_expert"));
    m.n_expert_used = number<uint32_t>(find(pairs, "n_expert_used"));
    m.n_embd        = number<uint32_t>(find(pairs, "n_embd"));
    m.n_vocab       = number<uint32_t>(find(pairs, "n_vocab"));
    for (const auto & [key, value] : pairs) {
        if (key.rfind("meta.", 0) == 0) {
            m.metadata.emplace_back(key.substr(5), value);
        }
    }
    return m;
}

access_list read_access(decoder & d) {
    access_list    list;
    const uint32_t n = d.value<uint32_t>();
    for (uint32_t i = 0; i < n; ++i) {
        access_entry e;
        e.op                     = d.text();
        e.dst                    = d.text();
        e.layer                  = d.value<int32_t>();
        e.block                  = d.value<int32_t>();
        const uint32_t n_sources = d.value<uint32_t>();
        for (uint32_t s = 0; s < n_sources; ++s) {
            e.sources.push_back(d.text());
        }
        list.push_back(std::move(e));
    }
    return list;
}

expert_counts read_counts(decoder & d, const counts_header & h, const graph_layout & layout) {
    expert_counts c;
    c.layout   = layout;
    c.tokens   = h.tokens;
    c.decoded  = h.decoded;
    c.ubatches = h.ubatches;
    for (const block_layout & l : layout) {
        expert_counts::block b;
        b.rows             = d.value<uint64_t>();
        b.rows_decoded     = d.value<uint64_t>();
        const uint8_t * at = d.take(uint64_t(l.n_expert) * sizeof(uint64_t));
        b.count.resize(l.n_expert);
        std::memcpy(b.count.data(), at, b.count.size() * sizeof(uint64_t));
        c.blocks.push_back(std::move(b));
    }
    return c;
}

void read_frame_body(decoder & d, const frame_header & h, const graph_layout & layout,
                     const std::vector<uint32_t> & value_bytes, routed_ubatch & u, frame_views & views) {
    const uint8_t * const body = d.take(0);
    if (h.n_blocks != layout.size()) {
        d.fail("a frame of " + std::to_string(h.n_blocks) + " blocks where the layout has " +
               std::to_string(layout.size()));
    }
    u.token  = take_i32(d, h.n_tokens);
    u.pos    = take_i32(d, h.n_tokens);
    u.seq    = take_i32(d, h.n_tokens);
    u.phases = take_phases(d, h.n_tokens);
    d.skip_padding(4);
    const span<const int32_t> rows = take_i32(d, h.n_blocks);

    if (same_shape(views, h, layout, rows)) {
        move_views(d, views, body);
    } else {
        views.body = nullptr;  // until all is known to be right
        read_blocks(d, h, layout, value_bytes, rows, views);
        remember_shape(views, h, layout, value_bytes, rows, body);
    }
    u.blocks = {views.blocks.data(), views.blocks.size()};
}

}  // namespace moescope::trace
