// moescope profile: REAP, EAN, frequency and mean gate weight of every expert over a corpus.

#include <cstdio>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "common.h"

#include "cli/answers/profile_files.hpp"
#include "cli/answers/profile_summary.hpp"
#include "cli/help/examples.hpp"
#include "cli/llama/corpus_run.hpp"
#include "cli/llama/model_verb.hpp"
#include "cli/llama/prompts.hpp"
#include "cli/terminal/interrupt.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "cli/verbs/mask_options.hpp"
#include "cli/verbs/profile_rounds.hpp"
#include "core/error.hpp"
#include "gguf/head.hpp"
#include "io/path.hpp"
#include "profile/checkpoint.hpp"
#include "profile/job.hpp"
#include "profile/ranks.hpp"
#include "stats/expert_stats.hpp"

namespace moescope::cli {

namespace {

struct profile_options {
    profile::job_options     job;
    std::string              output = "expert_stats.json";
    std::string              gate = "final", last_layer = "all", way = "probes", sums = "all", shard;
    mask_options             mask;
    uint32_t                 rounds = 1, keep = 0;
    uint32_t                 n_experts = 0;  // 0: not asked for
    bool                     force = false, quiet = false;
    std::vector<std::string> traces;    // --from-trace
    std::string              label_by;  // of --from-trace
};

// The job's options that are words on the command line.
void parse_job(const model_verb & verb, profile_options & o) {
    using capture::mechanism;
    o.job.gate       = o.gate == "raw" ? stats::gate_kind::raw : stats::gate_kind::final;
    o.job.sums       = o.sums == "norms" ? stats::sum_set::norms : stats::sum_set::all;
    o.job.rows       = infer::logit_rows(o.last_layer);
    o.job.capture_by = o.way == "none"       ? std::nullopt
                       : o.way == "callback" ? std::optional(mechanism::eval_callback)
                                             : std::optional(mechanism::probes);
    o.job.jinja      = !verb.given("--no-jinja");
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
profile::profile_events events_on_terminal(const std::string & checkpoint, const std::string & label_key,
                                           std::optional<progress> & bar) {
    profile::profile_events on;
    on.read = [label_key](const infer::corpus & c, const std::string & file) { note_corpus(c, file, label_key); };
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
    on.no_runner_up = [](const std::string & why) { note("no removal error: " + why); };
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

// Runs the job to its end. `params` are copied: loading changes them.
stats::moestats profile_once(const profile_options & o, common_params params, infer::llama_log & log,
                             const std::string & checkpoint, const profile::ranks & company) {
    std::optional<progress> bar;
    profile::profile_job    job(o.job, params, log, checkpoint,
                                events_on_terminal(checkpoint, o.job.corpus.label_key, bar));
    const bool              whole = job.run();
    bar.reset();
    if (!company.all(whole)) {
        note(fmt::format("interrupted after {} samples, which are kept in {}; continue with --resume",
                         with_commas(job.result().samples()), checkpoint));
        throw exit_with{interrupt_guard::requested() ? interrupt_guard::exit_code() : exit_interrupted};
    }
    return job.result();
}

void check_rounds(const profile_options & o, const profile::ranks & company) {
    if ((o.rounds > 1) != (o.keep > 0)) {
        throw usage_error("--rounds R (at least 2) and --keep N go together");
    }
    if (o.rounds > 1 && (company.size() > 1 || o.job.n_shards > 1)) {
        throw usage_error("a round needs the whole corpus: --rounds goes neither with --shard nor with mpirun");
    }
    if (o.rounds > 1 && o.job.capture_by != capture::mechanism::probes) {
        throw usage_error("--rounds needs --way probes");
    }
}

void profile_corpus(const model_verb & verb, profile_options & o, const profile::ranks & company) {
    if (o.job.jsonl.empty() == o.job.text.empty()) {
        throw usage_error("give the corpus with either --jsonl FILE or --text FILE");
    }
    const corpus_share share = share_of_rank(parse_share(o.shard), company, o.quiet);
    o.job.shard              = share.index;
    o.job.n_shards           = share.n;
    parse_job(verb, o);
    common_params     params = parse_corpus_params(verb);
    const std::string sums   = profile::moestats_path(o.output);
    if (company.rank() == 0) {
        check_outputs(o, sums, model_inputs(params));
    }
    const auto log = route_llama_log(params.verbosity > 0);
    check_model(o, params.model.path);
    o.job.mask = read_mask(o.mask, params.model.path);

    const interrupt_guard guard;
    check_rounds(o, company);
    for (uint32_t round = 1; round < o.rounds; ++round) {
        const std::string     path = round_path(sums, round);
        const stats::moestats s    = profile_once(o, params, *log, path, company);
        const uint32_t        left = left_after(params.model.path, o.keep, round, o.rounds);
        o.job.mask                 = mask_after(s, path, params.model.path, left);
        note(fmt::format("round {} of {}: {} experts stay in each layer", round, o.rounds, left));
    }
    const std::string checkpoint = rank_path(sums, company);
    stats::moestats   s          = profile_once(o, params, *log, checkpoint, company);
    company.gather(s);
    if (company.rank() == 0) {
        finish(o, s, sums);
    }
    if (company.size() > 1 &&
        company.all(true)) {  // the whole is written: the ranks' own checkpoints have done their work
        std::remove(checkpoint.c_str());
    }
}

// NAME.moestats asks for the sums under that name; the JSON lies beside them.
void name_outputs(profile_options & o) {
    if (io::without_suffix(o.output, ".moestats") != o.output) {
        o.output = io::without_suffix(o.output, ".moestats") + ".json";
    }
}

// No model is needed: what it computed is in the traces.
void profile_traces(profile_options & o) {
    if (!o.job.text.empty() || (!o.job.jsonl.empty() && o.traces.size() > 1)) {
        throw usage_error("--from-trace takes no --text, and --jsonl (labels of requests) for one trace only");
    }
    if (!o.label_by.empty() && !o.job.jsonl.empty()) {
        throw usage_error("--label-by and --jsonl: labels come from one or the other");
    }
    name_outputs(o);
    const std::string        sums   = profile::moestats_path(o.output);
    std::vector<std::string> inputs = o.traces;
    check_outputs(o, sums, inputs);
    const stats::gate_kind gate = o.gate == "raw" ? stats::gate_kind::raw : stats::gate_kind::final;
    finish(o, profile_of_traces(o.traces, gate, {o.job.jsonl, o.job.corpus.label_key, o.label_by}), sums);
}

void run_profile(const model_verb & verb, profile_options & o) {
    set_quiet(o.quiet);
    if (!o.traces.empty()) {
        profile_traces(o);
        return;
    }
    if (!o.label_by.empty()) {
        throw usage_error("--label-by goes with --from-trace; --label-key names the labels of a corpus");
    }
    const profile::ranks company;
    try {
        profile_corpus(verb, o, company);
    } catch (const std::exception & e) {
        if (company.size() > 1) {
            say_line(fmt::format("rank {}: {}", company.rank(), e.what()));
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
    own.add_option(
           "--from-trace", o->traces,
           "instead of computing a corpus: the sums of traces of --capture ids,weights,norms (and gram); needs no "
           "model. Labels are the trace's own, or those of --jsonl: line i has that of request i")
        ->type_name("T…");
    own.add_option("--label-by", o->label_by,
                   "with --from-trace: label each request by its trace's name (trace), or each on its own (request)")
        ->check(CLI::IsMember({"trace", "request"}))
        ->type_name("HOW");
    own.add_option("-o,--output", o->output,
                   "the result (default: expert_stats.json); the exact sums go into NAME.moestats")
        ->type_name("FILE");
    own.add_flag("--force", o->force, "replace existing files");
    own.add_flag("--resume", o->job.resume, "continue where an interrupted profile stopped");
    own.add_option("--save-every", o->job.save_every, "samples between checkpoints (default: 100)")
        ->type_name("N")
        ->check(CLI::PositiveNumber);
    own.add_option("--rounds", o->rounds,
                   "remove experts in R steps and profile the masked model between them; prune takes the last step")
        ->type_name("R")
        ->check(CLI::Range(1, 64));
    own.add_option("--keep", o->keep, "with --rounds: how many experts prune shall keep in each layer")->type_name("N");
    own.add_option("--gate", o->gate,
                   "gate weight: final (what multiplies the output, default) or raw (before normalisation)")
        ->check(CLI::IsMember({"final", "raw"}))
        ->type_name("GATE");
    own.add_option("--n-experts", o->n_experts, "fail unless the model has this many experts")->type_name("N");
    add_corpus_options(own, o->job.corpus, "selections are also counted per label");
    own.add_option("--shard", o->shard, "only shard I of N, to be merged later, e.g. 0/4")->type_name("I/N");
    own.add_option("--layers", o->job.layers, "only these layers, e.g. 0,20-24")->type_name("LIST");
    add_mask_options(own, o->mask);
    own.add_option("--last-layer", o->last_layer,
                   "rows that the last layer computes: all (default), sample:N per sample, or requested")
        ->type_name("ROWS");
    own.add_option("--sums", o->sums,
                   "all (default): for every criterion of prune, which computes one expert more per token; or norms: "
                   "those of gates and norms alone, for nearly nothing")
        ->check(CLI::IsMember({"all", "norms"}))
        ->type_name("SUMS");
    own.add_option("--way", o->way,
                   "how to capture: probes (default), callback, or none (compute only, to see what capture costs)")
        ->check(CLI::IsMember({"probes", "callback", "none"}))
        ->type_name("WAY");
    own.add_flag("-q,--quiet", o->quiet, "no notes, no progress, no summary");
    add_examples(
        own, {{"moescope profile -m model.gguf --jsonl corpus.jsonl -o expert_stats.json",
               "what every expert contributes, by every criterion of prune"},
              {"moescope profile -m model.gguf --text corpus.txt -c 512 --limit 100", "a short look at a plain text"}});
    model_verb::add(app, verb, [verb, o] { run_profile(*verb, *o); });
}

}  // namespace moescope::cli
