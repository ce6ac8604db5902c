#include "evaluate/vocabulary.hpp"

#include <cstring>

#include <fmt/format.h>

#include "llama.h"

namespace moescope::evaluate {

std::string vocabulary_difference(const llama_vocab * a, const llama_vocab * b) {
    const int32_t n_a = llama_vocab_n_tokens(a), n_b = llama_vocab_n_tokens(b);
    if (n_a != n_b) {
        return fmt::format("it has {} tokens in its vocabulary, the model {}", n_b, n_a);
    }
    for (int32_t t = 0; t < n_a; ++t) {
        if (std::strcmp(llama_vocab_get_text(a, t), llama_vocab_get_text(b, t)) != 0) {
            return fmt::format("token {} of its vocabulary is '{}', the model's is '{}'", t, llama_vocab_get_text(b, t),
                               llama_vocab_get_text(a, t));
        }
    }
    if (llama_vocab_get_add_bos(a) != llama_vocab_get_add_bos(b) || llama_vocab_bos(a) != llama_vocab_bos(b)) {
        return "the two begin a text with different tokens";
    }
    return "";
}

}  // namespace moescope::evaluate
