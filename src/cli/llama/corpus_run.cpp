#include "cli/llama/corpus_run.hpp"

#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "common.h"

#include "cli/llama/model_verb.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"

namespace moescope::cli {

namespace {

// What a corpus takes where llama.cpp's option does not say.
constexpr int32_t corpus_context = 2048, corpus_gpu_layers = 99, corpus_sequences = 64;

}  // namespace

void add_corpus_options(CLI::App & app, infer::corpus_options & o, const std::string & label_use) {
    app.add_option("--prompt-key", o.prompt_key, "the JSONL field of the prompt (default: prompt)")->type_name("KEY");
    app.add_option("--response-key", o.response_key, "the JSONL field of the response (default: response)")
        ->type_name("KEY");
    app.add_option("--label-key", o.label_key, "the JSONL field of a label; " + label_use)->type_name("KEY");
    app.add_option("--limit", o.limit, "only the first N samples")->type_name("N");
    app.add_option_function<uint64_t>(
           "--shuffle-seed",
           [&o](const uint64_t & seed) {
               o.shuffle      = true;
               o.shuffle_seed = seed;
           },
           "shuffle the samples (before --limit)")
        ->type_name("SEED");
    app.add_option_function<std::string>(
           "--max-line", [&o](const std::string & size) { o.max_line = parse_bytes(size, "--max-line"); },
           "a longer JSONL line counts as malformed (default: 16M)")
        ->type_name("BYTES");
    app.add_flag("--strict", o.strict, "stop at a malformed line instead of skipping it");
}

common_params parse_corpus_params(const model_verb & verb) {
    common_params params;
    params.verbosity  = -1;
    params.n_ctx      = corpus_context;
    params.n_parallel = corpus_sequences;
    params.fit_params = false;  // it would shrink the context, and with it what is counted
    verb.parse_llama(params);
    if (params.n_gpu_layers == -1) {  // neither given nor in the environment (the parser insists on this default)
        params.n_gpu_layers = corpus_gpu_layers;
    }
    // Logits are asked for all rows (docs/capture.md, trap 6): short batches bound their buffer.
    params.n_batch = params.n_ubatch = std::min(params.n_batch, params.n_ubatch);
    // llama.cpp aborts where more sequences than tokens of a ubatch may ask for logits; a short context shortens the ubatch.
    const int32_t ubatch = params.n_ctx > 0 ? std::min(params.n_ubatch, params.n_ctx) : params.n_ubatch;
    params.n_parallel    = std::max(1, std::min(params.n_parallel, ubatch));
    params.kv_unified    = true;  // else llama.cpp splits unequal samples into many ubatches
    params.warmup        = false;
    note_useless_offload(verb, params);
    return params;
}

corpus_share parse_share(const std::string & text) {
    if (text.empty()) {
        return {};
    }
    unsigned long long i = 0, n = 0;
    char               rest = 0;
    if (std::sscanf(text.c_str(), "%llu/%llu%c", &i, &n, &rest) != 2 || n == 0 || i >= n) {
        throw usage_error("--shard takes I/N with I from 0 to N-1, e.g. 0/4, not '" + text + "'");
    }
    return {i, n};
}

corpus_share share_of_rank(const corpus_share & asked, const profile::ranks & company, bool & quiet) {
    if (company.size() == 1) {
        return asked;
    }
    if (asked.n > 1) {
        throw usage_error("--shard and mpirun both divide the corpus: use only one of them");
    }
    quiet = quiet || company.rank() > 0;
    set_quiet(quiet);
    return {static_cast<uint64_t>(company.rank()), static_cast<uint64_t>(company.size())};
}

std::string rank_path(const std::string & path, const profile::ranks & company) {
    if (company.size() == 1) {
        return path;
    }
    const size_t dot = path.rfind('.');
    return path.substr(0, dot) + fmt::format(".rank{}-of-{}", company.rank(), company.size()) + path.substr(dot);
}

}  // namespace moescope::cli
