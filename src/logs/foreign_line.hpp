#pragma once

// One line of a log that another program wrote. All formats are told apart line by line, so they may be mixed in one file.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/block_id.hpp"

namespace moescope::logs {

struct foreign_line : block_id {
    enum class kind {
        other,              // a banner, a header, nothing we know
        section,            // Layer 10 - Selected Expert IDs (top-8):          layer, block, title, k
        shape,              //   n_experts=160, n_tokens=15                     n_expert
        token_row,          //   Token 3 (sequence 1): [42, 105, 17] (sum=1.0)  token, sequence, values
        prompt,             // Prompt: …
        prompt_tokens,      // Tokens: 15                                       token
        selection_weights,  // 10,3,"[42 105 17]","[0.5 0.3 0.2]"               layer, token, ids, values
        selection,          // 3,52 40 85 110                                   layer, ids
        gate,               // gate_input,3,0,0.25 -1.5 …                       layer, token, values
    };
    enum class title { none, logits, probs, ids, weights };

    kind                  what     = kind::other;
    title                 about    = title::none;
    int64_t               token    = -1;  // position or row; -1 unknown ("?")
    int32_t               sequence = 0;
    uint32_t              k        = 0;  // 0: not said
    uint32_t              n_expert = 0;
    bool                  cut      = false;  // the list ends in "...": some of its values are not there
    std::vector<uint32_t> ids;
    std::vector<float>    values;
    std::string           problem;  // not empty: the line begins like one of these, but makes no sense
};

// Parses one line without its end into `out`, whose vectors are reused. Never throws.
void parse_foreign_line(std::string_view line, foreign_line & out);

// A token row's values as expert ids; false if one is not an id.
bool values_as_ids(foreign_line & line);

}  // namespace moescope::logs
