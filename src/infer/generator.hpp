#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "infer/engine.hpp"
#include "infer/logit_rows.hpp"

namespace moescope::infer {

struct generation_options {
    int32_t                  n_predict = 0;  // tokens to generate at most; -1: until the model or the context ends
    logit_rows               rows;
    std::vector<std::string> stop;  // texts that end the generation (and are not shown)
};

// What a caller may want to follow. All may be empty.
struct generation_hooks {
    std::function<void(bool decode)>                   phase;      // before each llama_decode
    std::function<void(uint64_t done, uint64_t total)> prefilled;  // prompt tokens
    std::function<void(const std::string & text)>      text;       // generated, as it comes
};

struct generation_result {
    enum class end { model, limit, context, stop_text, interrupted };

    uint64_t n_prompt    = 0;
    uint64_t n_generated = 0;  // each of them computed, too, so that its routing is known (unless a stop text ended it)
    uint64_t n_decodes   = 0;  // llama_decode calls
    end      why         = end::limit;
};

// Computes a prompt in pieces of n_ubatch tokens, so that all rows' logits fit a buffer of n_ubatch rows, then generates
// with the engine's sampler. Begins a new sequence. Throws error when the prompt is empty or longer than the context, or
// when a decode fails.
generation_result generate(engine & e, const std::vector<int32_t> & prompt, const generation_options & options,
                           const generation_hooks & hooks);

}  // namespace moescope::infer
