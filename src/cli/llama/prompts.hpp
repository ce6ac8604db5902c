#pragma once

// Where run's prompts come from: -p, -f (llama.cpp's options) or --jsonl, through the chat template where asked.

#include <cstdint>
#include <string>
#include <vector>

#include "infer/corpus.hpp"
#include "infer/engine.hpp"

namespace CLI {
class App;
}
struct common_params;

namespace moescope::cli {

class model_verb;

struct prompt_options {
    std::string           jsonl;
    infer::corpus_options corpus;
    bool                  chat = false;
};

struct run_prompt {
    uint64_t             line = 0;  // of the JSONL file; 0: from -p or -f
    std::string          label;
    std::vector<int32_t> tokens;
};

void add_prompt_options(CLI::App & app, prompt_options & o);

// Throws usage_error unless exactly one source was given, and error for an empty prompt or a file that cannot be read.
void check_prompt_source(const prompt_options & o, const model_verb & verb);

// Reads and tokenizes. Malformed lines are named in notes; a prompt longer than the context is an error.
std::vector<run_prompt> read_prompts(const prompt_options & o, const common_params & params, const infer::engine & e,
                                     const model_verb & verb);

// Names the first few malformed lines of a corpus, and how many there are; says where no line has the field label_key ("": none
// was asked for).
void note_corpus(const infer::corpus & c, const std::string & file, const std::string & label_key);

}  // namespace moescope::cli
