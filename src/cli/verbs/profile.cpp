// moescope profile: REAP, EAN, frequency and mean gate weight of every expert over a corpus.

#include <cstdio>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "common.h"

#include "cli/answers/profile_summary.hpp"
#include "cli/llama/model_verb.hpp"
#include "cli/llama/prompts.hpp"
#include "cli/terminal/interrupt.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "cli/verbs/mask_options.hpp"
#include "core/error.hpp"
#include "gguf/head.hpp"
#include "profile/checkpoint.hpp"
#include "profile/job.hpp"
#include "profile/ranks.hpp"
#include "stats/expert_stats.hpp"

namespace moescope::cli {

namespace {

// What a profile takes where llama.cpp's option does not say.
constexpr int32_t profile_context = 2048, profile_gpu_layers = 99, profile_sequences = 64;

struct profile_options {
    profile::job_options job;
    std::string          output = "expert_stats.json";
    std::string          gate = "final", last_layer = "all", way = "probes", shard;
    mask_options         mask;
    uint32_t             n_experts = 0;  // 0: not asked for
    bool                 force = false, quiet = false;
    CLI::Option *        shuffle = nullptr;
};

void parse_shard(const std::string & text, profile::job_options & job) {
    if (text.empty()) {
        return;
    }
    unsigned long long i = 0, n = 0;
    char               rest = 0;
    if (std::sscanf(text.c_str(), "%llu/%llu%c", &i, &n, &rest) != 2 || n == 0 || i >= n) {
        throw usage_error("--shard takes I/N with I from 0 to N-1, e.g. 0/4, not '" + text + "'");
    }
    job.shard    = i;
    job.n_shards = n;
}

// The job's options that are words on the command line.
void parse_job(const model_verb & verb, profile_options & o) {
    using capture::mechanism;
    o.job.gate           = o.gate == "raw" ? stats::gate_kind::raw : stats::gate_kind::final;
    o.job.rows           = infer::logit_rows(o.last_layer);
    o.job.capture_by     = o.way == "none"       ? std::nullopt
                           : o.way == "callback" ? std::optional(mechanism::eval_callback)
                                                 : std::optional(mechanism::probes);
    o.job.corpus.shuffle = o.shuffle->count() > 0;
    o.job.jinja          = !verb.given("--no-jinja");
}

common_params parse_params(const model_verb & verb) {
    common_params params;
    params.verbosity  = -1;
    params.n_ctx      = profile_context;
    params.n_parallel = profile_sequences;
    params.fit_params = false;  // it would shrink the context, and with it what is counted
    verb.parse_llama(params);
    if (params.n_gpu_layers == -1) {  // neither given nor in the environment (the parser insists on this default)
        params.n_gpu_layers = profile_gpu_layers;
    }
    // Logits are asked for all rows (docs/capture.md, trap 6): short batches bound their buffer.
    params.n_batch = params.n_ubatch = std::min(params.n_batch, params.n_ubatch);
    // llama.cpp aborts where more sequences than tokens of a ubatch may ask for logits.
    params.n_parallel = std::max(1, std::min(params.n_parallel, params.n_ubatch));
    params.kv_unified = true;  // else llama.cpp splits unequal samples into many ubatches
    params.warmup     = false;
    note_useless_offload(verb, params);
    return params;
}

void check_model(const profile_options & o, const std::string & path) {
    const gguf::model_head head = gguf::require_moe(path);
    if (o.n_experts > 0 && o.n_experts != head.n_expert) {
        throw error(fmt::format("the model has {} experts, --n-experts says {}", head.n_expert, o.n_experts)).in(path);
    }
}

void check_outputs(const profile_options & o, const std::string & sums, std::vector<std::string> inputs) {
    if (o.output == "-") {
        throw usage_error("-o takes a file name: the .moestats file is written next to it");
    }
    inputs.insert(inputs.end(), {o.job.jsonl, o.job.text});
    require_writable(o.output, o.force || o.job.resume, inputs);
    require_writable(sums, o.force || o.job.resume, inputs);
}

void explain_gated_norms(const stats::moestats & s) {
    for (const stats::saliency_block & b : s.blocks) {
        if (b.norms_gated()) {
            note(fmt::format(
                "{} multiplies an expert's input by the gate, so its output norms already include the gate: reap takes "
                "them as they are, and ean_mean is the mean norm of gated outputs",
                s.model.architecture));
            return;
        }
    }
}

void save(const stats::moestats & s, const std::string & path) {
    write_text({path, true}, stats::encode_moestats(s));
}

// `bar` is drawn once there is something to show.
profile::profile_events events_on_terminal(const std::string & checkpoint, std::optional<progress> & bar) {
    profile::profile_events on;
    on.read              = note_malformed;
    on.nothing_to_resume = [](const std::string & path) {
        note("nothing to resume in " + path + ": starting from the beginning");
    };
    on.resumed = [](uint64_t samples) { note(fmt::format("resuming after {} samples", with_commas(samples))); };
    on.skipped = [](uint64_t line, const std::string & why) {
        note(fmt::format("the sample in line {} does not decode and is skipped{}", line,
                         why.empty() ? "" : ": " + printable(why)));
    };
    on.estimated = [](double seconds, uint64_t samples) {
        note(fmt::format("about {} for the remaining {} samples", human_duration(seconds), with_commas(samples)));
    };
    on.was_complete = [] { note("this profile is complete: nothing is left to compute"); };
    on.progress     = [&bar](uint64_t done, uint64_t total, uint64_t tokens, double seconds) {
        if (!bar) {
            bar.emplace("profile", total, "samples");
        }
        bar->update(done, fmt::format("{} tokens, {:.0f} tokens/s", with_commas(tokens), double(tokens) / seconds));
    };
    on.interrupted = interrupt_guard::requested;
    on.save        = [checkpoint](const stats::moestats & s) { save(s, checkpoint); };
    return on;
}

void finish(const profile_options & o, const stats::moestats & s, const std::string & sums) {
    save(s, sums);
    write_text({o.output, true}, stats::expert_stats_json(s));
    const stats::corpus_part & part = s.corpora.front();
    if (part.truncated > 0) {
        note(fmt::format("{} samples were cut to the context; -c makes it larger", with_commas(part.truncated)));
    }
    explain_gated_norms(s);
    if (!o.quiet) {
        print_profile(stdout, s);
    }
    note(fmt::format("wrote {} and {}", o.output, sums));
}

// Under mpirun each rank takes its share of the corpus, and only the first one talks.
void take_share(profile_options & o, const profile::ranks & company) {
    if (company.size() == 1) {
        return;
    }
    if (o.job.n_shards > 1) {
        throw usage_error("--shard and mpirun both divide the corpus: use only one of them");
    }
    o.job.shard    = static_cast<uint64_t>(company.rank());
    o.job.n_shards = static_cast<uint64_t>(company.size());
    o.quiet        = o.quiet || company.rank() > 0;
    set_quiet(o.quiet);
}

// NAME.moestats -> NAME.rank0-of-2.moestats
std::string rank_path(const std::string & sums, const profile::ranks & company) {
    return sums.substr(0, sums.rfind('.')) + fmt::format(".rank{}-of-{}.moestats", company.rank(), company.size());
}

void profile_corpus(const model_verb & verb, profile_options & o, const profile::ranks & company) {
    if (o.job.jsonl.empty() == o.job.text.empty()) {
        throw usage_error("give the corpus with either --jsonl FILE or --text FILE");
    }
    parse_shard(o.shard, o.job);
    take_share(o, company);
    parse_job(verb, o);
    common_params     params = parse_params(verb);
    const std::string sums   = profile::moestats_path(o.output);
    if (company.rank() == 0) {
        check_outputs(o, sums, model_inputs(params));
    }
    const auto log = route_llama_log(params.verbosity > 0);
    check_model(o, params.model.path);
    o.job.mask = read_mask(o.mask, params.model.path);

    const interrupt_guard   guard;
    const std::string       checkpoint = company.size() == 1 ? sums : rank_path(sums, company);
    std::optional<progress> bar;
    profile::profile_job    job(o.job, params, *log, checkpoint, events_on_terminal(checkpoint, bar));
    const bool              whole = job.run();
    bar.reset();
    if (!company.all(whole)) {
        note(fmt::format("interrupted after {} samples, which are kept in {}; continue with --resume",
                         with_commas(job.result().samples()), checkpoint));
        throw exit_with{interrupt_guard::requested() ? interrupt_guard::exit_code() : exit_interrupted};
    }
    stats::moestats s = job.result();
    company.gather(s);
    if (company.rank() == 0) {
        finish(o, s, sums);
    }
    if (company.size() > 1 &&
        company.all(true)) {  // the whole is written: the ranks' own checkpoints have done their work
        std::remove(checkpoint.c_str());
    }
}

void run_profile(const model_verb & verb, profile_options & o) {
    set_quiet(o.quiet);
    const profile::ranks company;
    try {
        profile_corpus(verb, o, company);
    } catch (const std::exception & e) {
        if (company.size() > 1) {
            fmt::print(stderr, "moescope: rank {}: {}\n", company.rank(), e.what());
        }
        company.end_the_others();
        throw;
    }
}

}  // namespace

void add_profile(CLI::App & app) {
    auto       verb = std::make_shared<model_verb>("profile", "measure the saliency of every expert over a corpus",
                                             llama_purpose::profile);
    const auto o    = std::make_shared<profile_options>();
    CLI::App & own  = verb->own();
    own.add_option("--jsonl", o->job.jsonl,
                   "the corpus, one JSON object per line: prompt (and response), text, or messages")
        ->type_name("FILE");
    own.add_option("--text", o->job.text, "the corpus as plain text, cut into windows of the context's length")
        ->type_name("FILE");
    own.add_option("-o,--output", o->output,
                   "the result (default: expert_stats.json); the exact sums go into NAME.moestats")
        ->type_name("FILE");
    own.add_flag("--force", o->force, "replace existing files");
    own.add_flag("--resume", o->job.resume, "continue where an interrupted profile stopped");
    own.add_option("--save-every", o->job.save_every, "samples between checkpoints (default: 100)")
        ->type_name("N")
        ->check(CLI::PositiveNumber);
    own.add_option("--gate", o->gate,
                   "gate weight: final (what multiplies the output, default) or raw (before normalisation)")
        ->check(CLI::IsMember({"final", "raw"}))
        ->type_name("GATE");
    own.add_option("--n-experts", o->n_experts, "fail unless the model has this many experts")->type_name("N");
    own.add_option("--prompt-key", o->job.corpus.prompt_key, "the JSONL field of the prompt (default: prompt)")
        ->type_name("KEY");
    own.add_option("--response-key", o->job.corpus.response_key, "the JSONL field of the response (default: response)")
        ->type_name("KEY");
    own.add_option("--label-key", o->job.corpus.label_key,
                   "the JSONL field of a label; selections are also counted per label")
        ->type_name("KEY");
    own.add_option("--limit", o->job.corpus.limit, "only the first N samples")->type_name("N");
    o->shuffle = own.add_option("--shuffle-seed", o->job.corpus.shuffle_seed, "shuffle the samples (before --limit)")
                     ->type_name("SEED");
    own.add_flag("--strict", o->job.corpus.strict, "stop at a malformed line instead of skipping it");
    own.add_option("--shard", o->shard, "only shard I of N, to be merged later, e.g. 0/4")->type_name("I/N");
    own.add_option("--layers", o->job.layers, "only these layers, e.g. 0,20-24")->type_name("LIST");
    add_mask_options(own, o->mask);
    own.add_option("--last-layer", o->last_layer,
                   "rows that the last layer computes: all (default), sample:N per sample, or requested")
        ->type_name("ROWS");
    own.add_option("--way", o->way,
                   "how to capture: probes (default), callback, or none (compute only, to see what capture costs)")
        ->check(CLI::IsMember({"probes", "callback", "none"}))
        ->type_name("WAY");
    own.add_flag("-q,--quiet", o->quiet, "no notes, no progress, no summary");
    model_verb::add(app, verb, [verb, o] { run_profile(*verb, *o); });
}

}  // namespace moescope::cli
