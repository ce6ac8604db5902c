#pragma once

// What profile and evaluate share: a corpus through a model, all of it, or one share of it.

#include <cstdint>
#include <string>

#include "infer/corpus.hpp"
#include "profile/ranks.hpp"

namespace CLI {
class App;
}
struct common_params;

namespace moescope::cli {

class model_verb;

// --prompt-key, --response-key, --label-key, --limit, --shuffle-seed and --strict. label_use: what labels are for.
void add_corpus_options(CLI::App & app, infer::corpus_options & o, const std::string & label_use);

// llama.cpp's arguments over what such a run takes where they say nothing: a context of 2048 tokens, 64 sequences, all layers on
// the GPU, nothing fitted to the memory.
common_params parse_corpus_params(const model_verb & verb);

// A share of a corpus: shard `index` of `n`.
struct corpus_share {
    uint64_t index = 0, n = 1;
};
// "0/4"; the whole for "". Throws usage_error.
corpus_share parse_share(const std::string & text);
// Under mpirun each rank takes its share of the corpus, and only the first one talks: `quiet` becomes true on the others.
// Throws usage_error where --shard divided the corpus already.
corpus_share share_of_rank(const corpus_share & asked, const profile::ranks & company, bool & quiet);

// NAME.ext -> NAME.rank0-of-2.ext; the path itself without company.
std::string rank_path(const std::string & path, const profile::ranks & company);

}  // namespace moescope::cli
