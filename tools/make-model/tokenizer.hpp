#pragma once

#include <cstdint>

struct gguf_context;

namespace moescope::make_model {

// A byte-level vocabulary: token b is the byte b, so that any text goes in and comes out unchanged.
// Behind the 256 bytes follow <s>, </s>, <unk>, <pad>, then <extra_0>, <extra_1>, … up to n_vocab.
constexpr int32_t  token_bos   = 256;
constexpr int32_t  token_eos   = 257;
constexpr int32_t  token_unk   = 258;
constexpr int32_t  token_pad   = 259;
constexpr uint32_t n_vocab_min = 260;

// Writes the tokenizer.* keys, a chat template included. No BOS is added to a prompt, so that one byte of text is
// one token of the batch. Throws moescope::error when n_vocab < n_vocab_min.
void set_byte_tokenizer(gguf_context * kv, uint32_t n_vocab);

}  // namespace moescope::make_model
