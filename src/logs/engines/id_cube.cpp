#include "logs/engines/id_cube.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "logs/engines/built_source.hpp"

namespace moescope::logs {

namespace {

uint32_t n_ids(const id_cube & cube, uint64_t token, uint64_t layer) {
    uint32_t n = 0;
    while (n < cube.width() && cube.id(token, layer, n) >= 0) {
        ++n;
    }
    return n;
}

}  // namespace

id_cube::id_cube(array_view ids, order o, const std::string & what) : ids_(std::move(ids)), order_(o) {
    if (ids_.n_dims() != 3 || !ids_.is_integer() || ids_.dim(2) > 1024 || n_layers() > 100'000) {
        throw error(what + " is an array of shape " + shape_text(ids_) +
                    ", not of expert ids by token, layer and rank");
    }
}

void cube_survey::add(const id_cube & cube, const std::string & path) {
    for (uint64_t l = 0; l < cube.n_layers(); ++l) {
        layer & s = layers_[static_cast<int32_t>(l)];
        for (uint64_t t = 0; t < cube.n_tokens(); ++t) {
            const uint32_t n = n_ids(cube, t, l);
            if (n == 0) {
                continue;
            }
            s.rows_by_length[n] += 1;
            s.k = std::max(s.k, n);
            for (uint32_t r = 0; r < n; ++r) {
                const int64_t id = cube.id(t, l, r);
                if (id >= most_experts) {
                    throw error("expert " + std::to_string(id) + " of layer " + std::to_string(l) + " cannot be")
                        .in(path);
                }
                s.largest = std::max(s.largest, id);
                s.chooses = s.chooses || n == 1 || id != cube.id(t, l, 0);
            }
        }
    }
}

graph_layout cube_survey::blocks() const {
    graph_layout all;
    int64_t      largest = 0;
    for (const auto & [l, s] : layers_) {
        largest = std::max(largest, s.largest);
    }
    for (const auto & [l, s] : layers_) {
        if (s.chooses) {
            block_layout b;
            b.layer         = l;
            b.n_expert      = static_cast<uint32_t>(largest) + 1;
            b.n_expert_used = s.k;
            b.columns       = column::ids;
            all.push_back(b);
        }
    }
    return all;
}

std::vector<std::string> cube_survey::notes() const {
    std::vector<std::string> all;
    uint64_t                 dense = 0, short_rows = 0;
    for (const auto & [l, s] : layers_) {
        dense += !s.chooses && s.k > 0;
        for (const auto & [n, rows] : s.rows_by_length) {
            short_rows += s.chooses && n < s.k ? rows : 0;
        }
    }
    if (dense > 0) {
        all.push_back(std::to_string(dense) + (dense == 1 ? " layer has" : " layers have") +
                      " one and the same id everywhere, and count as dense");
    }
    if (short_rows > 0) {
        all.push_back(std::to_string(short_rows) + " rows have fewer ids than others of their layer, and are left out");
    }
    return all;
}

void build_rows(const id_cube & cube, uint64_t first, uint64_t last, const graph_layout & blocks,
                const array_view * logical, ubatch_buffer & to) {
    for (const block_layout & b : blocks) {
        const auto           l = static_cast<uint64_t>(b.layer);
        std::vector<int32_t> tokens;
        for (uint64_t t = first; t < last && l < cube.n_layers(); ++t) {
            if (n_ids(cube, t, l) == b.n_expert_used) {
                tokens.push_back(static_cast<int32_t>(t - first));
            }
        }
        if (tokens.empty()) {
            continue;
        }
        to.layout.push_back(b);
        to.add_block(static_cast<uint32_t>(tokens.size()), tokens.size() != last - first);
        if (tokens.size() != last - first) {
            std::copy(tokens.begin(), tokens.end(), to.row_tokens());
        }
        size_t i = 0;
        for (const int32_t t : tokens) {
            for (uint32_t r = 0; r < b.n_expert_used; ++r) {
                const int64_t id = cube.id(first + static_cast<uint64_t>(t), l, r);
                to.set_id(i++, static_cast<uint32_t>(
                                   logical == nullptr ? id : logical->integer(l, static_cast<uint64_t>(id))));
            }
        }
    }
}

}  // namespace moescope::logs
