#pragma once

#include <map>
#include <set>

#include "core/ubatch_buffer.hpp"
#include "logs/arrays/array_view.hpp"

namespace moescope::logs {

// Expert ids by token, layer and rank, as SGLang ([layers][tokens][k]) and vLLM ([tokens][layers][k]) keep them. -1 fills
// rows up, and stands where a row was not computed.
class id_cube {
public:
    enum class order { tokens_first, layers_first };

    // Throws error naming `what` unless the array has three dimensions of integers.
    id_cube(array_view ids, order o, const std::string & what);

    uint64_t n_tokens() const { return ids_.dim(order_ == order::tokens_first ? 0 : 1); }
    uint64_t n_layers() const { return ids_.dim(order_ == order::tokens_first ? 1 : 0); }
    uint32_t width() const { return static_cast<uint32_t>(ids_.dim(2)); }
    int64_t  id(uint64_t token, uint64_t layer, uint64_t rank) const {
         return order_ == order::tokens_first ? ids_.integer(token, layer, rank) : ids_.integer(layer, token, rank);
    }

private:
    array_view ids_;
    order      order_;
};

// What the cubes of a file have in common, gathered before the first ubatch is built.
class cube_survey {
public:
    void add(const id_cube & cube, const std::string & path);  // throws error for an id that cannot be

    // The layers that select experts: a dense one has no ids, or the same id in all places of every row.
    graph_layout blocks() const;
    // Notes on what was assumed and left out.
    std::vector<std::string> notes() const;

private:
    struct layer {
        uint32_t                     k       = 0;
        int64_t                      largest = -1;
        bool                         chooses = false;  // some row has different ids, or there is one place only
        std::map<uint32_t, uint64_t> rows_by_length;   // number of ids -> rows
    };
    std::map<int32_t, layer> layers_;
};

// Appends the rows of tokens first to last of the cube, for the blocks of a survey; the ubatch's tokens are set. Rows with
// fewer ids than their block selects are left out. ids: what an id stands for, by (layer, id); null: itself.
void build_rows(const id_cube & cube, uint64_t first, uint64_t last, const graph_layout & blocks,
                const array_view * logical, ubatch_buffer & to);

}  // namespace moescope::logs
