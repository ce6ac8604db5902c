#include "make-model/tokenizer.hpp"

#include "core/error.hpp"
#include "gguf.h"

#include <string>
#include <vector>

namespace moescope::make_model {
namespace {

// Values of tokenizer.ggml.token_type, as the GGUF specification numbers them.
enum token_type : int32_t { normal = 1, unknown = 2, control = 3, user_defined = 4 };

std::string utf8(uint32_t code_point) {
    if (code_point < 0x80) {
        return std::string(1, static_cast<char>(code_point));
    }
    return {static_cast<char>(0xC0 | (code_point >> 6)), static_cast<char>(0x80 | (code_point & 0x3F))};
}

// GPT-2's printable name of a byte: itself where it is printable Latin-1, else the next free code point from 256 on.
std::vector<std::string> byte_names() {
    std::vector<std::string> names(256);
    uint32_t                 next = 256;
    for (uint32_t b = 0; b < 256; b++) {
        const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        names[b]             = utf8(printable ? b : next++);
    }
    return names;
}

void set_strings(gguf_context * kv, const char * key, const std::vector<std::string> & values) {
    std::vector<const char *> pointers;
    for (const std::string & value : values) {
        pointers.push_back(value.c_str());
    }
    gguf_set_arr_str(kv, key, pointers.data(), pointers.size());
}

}  // namespace

void set_byte_tokenizer(gguf_context * kv, uint32_t n_vocab) {
    if (n_vocab < n_vocab_min) {
        throw error("a vocabulary of " + std::to_string(n_vocab) + " tokens is too small for the byte-level tokenizer")
            .fix("take at least " + std::to_string(n_vocab_min));
    }
    std::vector<std::string> tokens = byte_names();
    std::vector<int32_t>     types(tokens.size(), normal);
    for (const char * special : {"<s>", "</s>", "<unk>", "<pad>"}) {
        tokens.push_back(special);
        types.push_back(std::string(special) == "<unk>" ? unknown : control);
    }
    while (tokens.size() < n_vocab) {
        tokens.push_back("<extra_" + std::to_string(tokens.size() - n_vocab_min) + ">");
        types.push_back(user_defined);
    }
    const std::vector<float> scores(tokens.size(), 0.0f);

    gguf_set_val_str(kv, "tokenizer.ggml.model", "gpt2");
    gguf_set_val_str(kv, "tokenizer.ggml.pre", "gpt-2");
    set_strings(kv, "tokenizer.ggml.tokens", tokens);
    gguf_set_arr_data(kv, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(), scores.size());
    gguf_set_arr_data(kv, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
    set_strings(kv, "tokenizer.ggml.merges", {});
    gguf_set_val_u32(kv, "tokenizer.ggml.bos_token_id", token_bos);
    gguf_set_val_u32(kv, "tokenizer.ggml.eos_token_id", token_eos);
    gguf_set_val_u32(kv, "tokenizer.ggml.unknown_token_id", token_unk);
    gguf_set_val_u32(kv, "tokenizer.ggml.padding_token_id", token_pad);
    gguf_set_val_bool(kv, "tokenizer.ggml.add_bos_token", false);
    gguf_set_val_bool(kv, "tokenizer.ggml.add_eos_token", false);
    gguf_set_val_str(kv, "tokenizer.chat_template",
                     "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
                     "{% if add_generation_prompt %}assistant:{% endif %}");
}

}  // namespace moescope::make_model
