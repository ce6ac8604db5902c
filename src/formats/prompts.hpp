#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trace/source.hpp"

namespace moescope::formats {

// A stretch of a sequence that was prefilled: it begins where the sequence does, after generated tokens, or where its
// positions jump.
struct prompt {
    uint64_t    ubatch   = 0;  // in which it begins, from 0
    int32_t     sequence = -1;
    uint64_t    n_tokens = 0;
    std::string text;             // of its tokens, as far as the source knows them
    bool        complete = true;  // the text of every token is known
};

// All prompts in the order in which they begin. Reads the source from its start to its end.
std::vector<prompt> find_prompts(trace::trace_source & source);

}  // namespace moescope::formats
