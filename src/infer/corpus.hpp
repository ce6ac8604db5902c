#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moescope::infer {

struct chat_message {
    std::string role;
    std::string content;
};

// One text of a corpus. Either text or messages is set.
struct sample {
    uint64_t                  line = 0;  // in its file, from 1
    std::string               text;
    std::vector<chat_message> messages;  // to be rendered through the model's chat template
    std::string               label;     // what the label key holds, as text; empty without one
};

struct corpus_options {
    std::string prompt_key   = "prompt";
    std::string response_key = "response";
    std::string label_key;             // empty: no labels
    bool        strict       = false;  // stop at the first malformed line
    uint64_t    limit        = 0;      // samples at most; 0: all
    bool        shuffle      = false;
    uint64_t    shuffle_seed = 0;
    uint64_t    max_line     = uint64_t{16} << 20;  // bytes; a longer line is malformed
};

struct malformed_line {
    uint64_t    line;
    std::string what;
};

struct corpus {
    std::vector<sample>         samples;
    std::vector<malformed_line> malformed;
    uint64_t                    n_empty = 0;  // samples without text, skipped
    uint64_t                    bytes   = 0;  // of the file
    uint64_t                    hash    = 0;  // XXH3-64 of the file: which corpus this is
};

// Reads a JSONL file: an object a line with the prompt key (and, where there is one, the response key: the text is
// prompt + "\n" + response), "text", or "messages" (OpenAI's form; contents are texts or text parts). Blank lines count
// for nothing. A malformed line is kept in `malformed`, or throws with `strict`. Shuffling comes before the limit and
// depends on nothing but the seed. Throws error naming the file when it cannot be read or holds no sample.
corpus read_jsonl(const std::string & path, const corpus_options & options);

// The same for a text already in memory; `name` is for messages.
corpus parse_jsonl(const std::string & text, const std::string & name, const corpus_options & options);

// A whole file as one text. Throws error naming it.
std::string read_text_file(const std::string & path);

}  // namespace moescope::infer
