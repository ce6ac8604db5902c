// moescope evaluate: what it costs to take experts away, or to put another file in a model's place.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "common.h"

#include "cli/answers/evaluation.hpp"
#include "cli/answers/profile_files.hpp"
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
#include "core/error.hpp"
#include "evaluate/job.hpp"
#include "gguf/head.hpp"
#include "io/path.hpp"
#include "profile/ranks.hpp"
#include "report/damage.hpp"
#include "report/damage_charts.hpp"

namespace moescope::cli {

namespace {

struct evaluate_options {
    evaluate::job_options   job;
    answer_options          answer;  // to stdout; its output is where the JSON goes
    mask_options            mask;
    std::string             shard, budget, charts;
    std::optional<uint32_t> skip;
    size_t                  top   = 20;
    bool                    quiet = false;
};

// "90", "30m", "2h" -> seconds.
double parse_time(const std::string & text) {
    char *            rest  = nullptr;
    double            value = std::strtod(text.c_str(), &rest);
    const std::string unit(rest);
    value *= unit == "h" ? 3600 : unit == "m" ? 60 : 1;
    if (rest == text.c_str() || !(value > 0) || !std::isfinite(value) ||
        (unit != "" && unit != "s" && unit != "m" && unit != "h")) {
        throw usage_error("--budget takes a time such as 90s, 30m or 2h, not '" + text + "'");
    }
    return value;
}

void check_evaluate_options(const evaluate_options & o) {
    if (o.job.text.jsonl.empty() == o.job.text.text.empty()) {
        throw usage_error("give the text with either --jsonl FILE or --text FILE");
    }
    if (!o.job.text.text.empty() && !o.job.text.corpus.label_key.empty()) {
        throw usage_error("--label-key needs --jsonl: a plain text has no labels");
    }
    if (o.job.sums_path.empty() && (o.job.resume || !o.shard.empty())) {
        throw usage_error(std::string(o.job.resume ? "--resume" : "--shard") + " needs -o FILE")
            .fix("beside it lie the exact sums, FILE.moeval");
    }
    if (!o.job.dump.empty() && (o.job.resume || !o.shard.empty())) {
        throw usage_error("--dump-logits writes what one whole run computes, without --resume and --shard");
    }
}

std::vector<std::string> evaluation_inputs(const evaluate_options & o, const common_params & params) {
    const evaluate::plan_request & plans  = o.job.plans;
    std::vector<std::string>       inputs = model_inputs(params);
    inputs.insert(inputs.end(), {o.job.text.jsonl, o.job.text.text, plans.stats, plans.against});
    inputs.insert(inputs.end(), plans.keep_ids.begin(), plans.keep_ids.end());
    return inputs;
}

// `bar` is drawn once there is something to show.
evaluate::evaluation_events evaluation_progress(const std::string & checkpoint, const std::string & label_key,
                                                std::optional<progress> & bar) {
    evaluate::evaluation_events on;
    on.read = [label_key](const infer::corpus & c, const std::string & file) { note_corpus(c, file, label_key); };
    on.nothing_to_resume = [](const std::string & path) { note("nothing to resume in " + path + ": beginning anew"); };
    on.resumed           = [](uint64_t samples, size_t plans) {
        note(fmt::format("resuming after {} samples{}", with_commas(samples),
                         plans > 0 ? fmt::format(" and {} plans of the next ones", with_commas(plans)) : ""));
    };
    on.skipped = [](uint64_t line, const std::string & why) {
        note(fmt::format("the sample of line {} does not decode and is skipped{}", line,
                         why.empty() ? "" : ": " + printable(why)));
    };
    on.estimated    = [](double seconds) { note("about " + human_duration(seconds) + " left"); };
    on.was_complete = [] { note("this evaluation is complete: nothing is left to compute"); };
    on.progress     = [&bar](double done, uint64_t total, uint64_t tokens, double seconds) {
        if (!bar) {
            bar.emplace("evaluate", total, "samples");
        }
        bar->update(done, fmt::format("{:.0f} tokens/s", double(tokens) / seconds));
    };
    on.interrupted = interrupt_guard::requested;
    on.save        = [checkpoint](const evaluate::evaluation & e) {
        if (!checkpoint.empty()) {
            write_text({checkpoint, true}, evaluate::encode_moeval(e));
        }
    };
    return on;
}

void make_charts_folder(const evaluate_options & o) {
    std::error_code failed;
    if (!o.charts.empty() && !std::filesystem::create_directories(o.charts, failed) && failed) {
        throw error("cannot create the folder: " + failed.message()).in(o.charts);
    }
}

void write_damage_charts(const evaluate_options & o, const report::page_damage & damage) {
    const std::vector<report::chart> charts = report::draw_damage_charts(damage);
    if (charts.empty()) {
        note("no charts: only criteria (curves) and --each (a map) are drawn");
    }
    for (const report::chart & c : charts) {
        const std::string path = o.charts + '/' + c.name;
        write_text({path + ".svg", o.answer.output.force}, c.svg);
        write_text({path + ".png", o.answer.output.force}, c.png);
        note(path + ".svg, .png");
    }
}

[[noreturn]] void fail_without_predictions(const evaluate_options & o, const evaluate::evaluation & e) {
    if (!e.complete) {
        throw error("the budget was over before the first samples were done")
            .in(e.corpus)
            .fix(o.job.sums_path.empty() ? "give it more" : "go on with --resume");
    }
    if (e.samples > 0) {
        throw error("no text is longer than what is skipped, so there is nothing to predict")
            .in(e.corpus)
            .fix("skip less, or give longer text");
    }
    throw error("no text is longer than one token, so there is nothing to predict")
        .in(e.corpus)
        .fix("give longer text");
}

// Shards share stretches of samples, so a short corpus leaves some without any. They add up with the others all the same.
bool is_empty_shard(const evaluate::evaluation & e) {
    return e.complete && e.samples == 0 && e.failed.empty() && e.shards.size() < e.n_shards;
}

void finish_evaluation(const evaluate_options & o, const evaluate::evaluation & e) {
    if (e.predictions() == 0 && is_empty_shard(e)) {
        note(fmt::format("no samples are in this shard of {}: the corpus is short{}", e.corpus,
                         o.job.sums_path.empty() ? "" : "; " + o.job.sums_path + " is empty, and merge takes it"));
        return;
    }
    if (e.predictions() == 0) {
        fail_without_predictions(o, e);
    }
    const answer a = answer_evaluation(e, o.top);
    if (!o.job.sums_path.empty()) {
        write_text({o.job.sums_path, true}, evaluate::encode_moeval(e));
        write_text({o.answer.output.path, true}, to_text(answer_json(a)));
        note(fmt::format("wrote {} and {}; moescope report --evaluation {} shows it", o.answer.output.path,
                         o.job.sums_path, o.answer.output.path));
    }
    answer_options shown_answer = o.answer;
    shown_answer.output         = {};
    if (!o.quiet || o.answer.json || o.answer.csv) {
        print_answer(a, shown_answer);
    }
    if (!o.charts.empty()) {  // last: a chart that cannot be written must not cost the answer
        write_damage_charts(o, report::parse_damage(answer_json(a), "the evaluation"));
    }
}

[[noreturn]] void stop_interrupted(const evaluate::evaluation & e, const std::string & checkpoint) {
    note(checkpoint.empty() ? std::string("interrupted; with -o FILE, --resume could go on")
                            : fmt::format("interrupted after {} samples, which {} keeps; go on with --resume",
                                          with_commas(e.samples), checkpoint));
    throw exit_with{interrupt_guard::requested() ? interrupt_guard::exit_code() : exit_interrupted};
}

void evaluate_text(const model_verb & verb, evaluate_options & o, const profile::ranks & company) {
    const std::string & output = o.answer.output.path;
    o.job.sums_path            = output.empty() ? "" : io::without_suffix(output, ".json") + ".moeval";
    check_evaluate_options(o);
    const corpus_share share = share_of_rank(parse_share(o.shard), company, o.quiet);
    o.job.shard              = share.index;
    o.job.n_shards           = share.n;
    o.job.text.skip          = o.skip;
    o.job.text.jinja         = !verb.given("--no-jinja");
    o.job.budget             = o.budget.empty() ? 0 : parse_time(o.budget);
    common_params params     = parse_corpus_params(verb);
    o.job.plans.model        = params.model.path;
    o.job.plans.mask         = read_mask(o.mask);
    if (auto sums = read_sums(o.job.plans.stats)) {
        o.job.plans.sums = std::make_shared<const stats::moestats>(std::move(*sums));
    }
    if (!params.lora_adapters.empty() && !o.job.plans.against.empty()) {
        throw usage_error("--against and --lora: an adapter would change both files");
    }
    if (company.rank() == 0 && !output.empty()) {
        require_writable(output, o.answer.output.force || o.job.resume, evaluation_inputs(o, params));
        require_writable(o.job.sums_path, o.answer.output.force || o.job.resume, evaluation_inputs(o, params));
    }
    if (company.rank() == 0) {
        make_charts_folder(o);
    }
    const auto log = route_llama_log(params.verbosity > 0);
    if (o.job.plans.against.empty()) {
        gguf::require_moe(params.model.path);
    }
    const interrupt_guard   guard;
    const std::string       sums       = o.job.sums_path;
    const std::string       checkpoint = sums.empty() ? "" : rank_path(sums, company);
    std::optional<progress> bar;
    evaluate::job_options   job_options = o.job;
    job_options.sums_path               = checkpoint;
    evaluate::evaluation_job job(job_options, params, *log,
                                 evaluation_progress(checkpoint, job_options.text.corpus.label_key, bar));
    const evaluate::job_end  end = job.run();
    bar.reset();
    if (!company.all(end != evaluate::job_end::interrupted)) {
        stop_interrupted(job.result(), checkpoint);
    }
    const std::vector<std::string> parts = company.gather(evaluate::encode_moeval(job.result()));
    if (company.rank() == 0) {
        evaluate::evaluation e = job.result();
        for (size_t r = 1; r < parts.size(); ++r) {
            evaluate::add_shard(e, evaluate::decode_moeval(parts[r], fmt::format("rank {}", r)),
                                fmt::format("rank {}", r));
        }
        finish_evaluation(o, e);
    }
    if (company.size() > 1 && company.all(end == evaluate::job_end::complete)) {
        std::remove(checkpoint.c_str());  // the whole is written: the ranks' own checkpoints have done their work
    }
}

void run_evaluate(const model_verb & verb, evaluate_options & o) {
    o.quiet = o.quiet || is_quiet();
    set_quiet(o.quiet);
    const profile::ranks company;
    try {
        evaluate_text(verb, o, company);
    } catch (const std::exception & e) {
        if (company.size() > 1) {
            fmt::print(stderr, "moescope: rank {}: {}\n", company.rank(), e.what());
        }
        company.end_the_others();
        throw;
    }
}

void add_plan_options(CLI::App & own, evaluate::plan_request & plans) {
    own.add_option("--keep-ids", plans.keep_ids, "keep only the experts that this file lists, as in prune; repeatable")
        ->type_name("FILE")
        ->expected(1)
        ->take_all();
    own.add_option("--stats", plans.stats, "what --criterion reads, as in prune")->type_name("FILE");
    own.add_option("--criterion", plans.criteria,
                   "keep the experts that prune would keep by it; several: reap,frequency,random")
        ->type_name("NAME")
        ->delimiter(',')
        ->expected(1)
        ->take_all();
    own.add_option("--keep", plans.keep, "with --criterion: how many in each layer; several: 28,24,16")
        ->type_name("N")
        ->delimiter(',')
        ->check(CLI::PositiveNumber)
        ->expected(1)
        ->take_all();
    own.add_option("--balance", plans.balance, "how labels count in the scores: rows, labels or worst, as in prune")
        ->type_name("HOW");
    own.add_option("--seed", plans.seed, "seed of --criterion random (default: 0)")->type_name("SEED");
    own.add_flag("--each", plans.each, "leave out each expert in turn, alone: which ones are missed?");
    own.add_option("--layers", plans.layers, "with --each: only those of these layers, e.g. 0,20-24")
        ->type_name("LIST");
    own.add_option("--against", plans.against, "another file with the same vocabulary: pruned, requantised, fine-tuned")
        ->type_name("MODEL");
}

void add_run_options(CLI::App & own, evaluate_options & o) {
    own.add_option("-o,--output", o.answer.output.path, "also write the JSON here, and the exact sums into NAME.moeval")
        ->type_name("FILE");
    own.add_flag("--force", o.answer.output.force, "replace existing files");
    auto * json = own.add_flag("--json", o.answer.json, "print everything as JSON");
    auto * csv = own.add_flag("--csv", o.answer.csv, "print one table as CSV: the first, or the one that --table names")
                     ->excludes(json);
    own.add_option("--table", o.answer.csv_table, "which table --csv prints")->needs(csv)->type_name("NAME");
    own.add_flag("--full", o.answer.full, "tables with all their rows");
    own.add_option("--top", o.top, "how many experts the table of --each shows (default: 20)")->type_name("N");
    own.add_option("--charts", o.charts, "write charts of the damage as SVG and PNG into this folder")
        ->type_name("DIR");
    own.add_flag("--resume", o.job.resume, "go on where an interrupted evaluation stopped");
    own.add_option("--save-every", o.job.save_every, "seconds between checkpoints (default: 60)")
        ->type_name("SECONDS")
        ->check(CLI::NonNegativeNumber);
    own.add_option("--budget", o.budget, "stop computing after this time, e.g. 30m, and say what is known then")
        ->type_name("TIME");
    own.add_option("--shard", o.shard, "only shard I of N, to be merged later: 0/4")->type_name("I/N");
    own.add_option("--dump-logits", o.job.dump, "write all logits that are compared into this new folder (large)")
        ->type_name("DIR");
    own.add_flag("-q,--quiet", o.quiet, "no notes, no progress, no tables");
}

}  // namespace

void add_evaluate(CLI::App & app) {
    auto verb = std::make_shared<model_verb>(
        "evaluate", "measure what a change costs: experts left out, or another file", llama_purpose::profile);
    const auto o   = std::make_shared<evaluate_options>();
    CLI::App & own = verb->own();
    o->answer.output.path.clear();
    own.add_option("--jsonl", o->job.text.jsonl,
                   "held-out text, a JSON object a line: prompt (and response), text, or messages")
        ->type_name("FILE");
    own.add_option(
           "--text", o->job.text.text,
           "held-out plain text, cut as llama-perplexity cuts it: windows of the context's length, second halves count")
        ->type_name("FILE");
    add_corpus_options(own, o->job.text.corpus, "the damage is also told per label");
    own.add_option("--skip", o->skip, "tokens at the beginning of each sample that are context alone")->type_name("N");
    add_mask_options(own, o->mask);
    add_plan_options(own, o->job.plans);
    add_run_options(own, *o);
    add_examples(
        own,
        {{"moescope evaluate -m model.gguf --jsonl held-out.jsonl --label-key domain --omit 3:5,4:0-3",
          "what it would cost to leave five experts out, by domain"},
         {"moescope evaluate -m model.gguf --jsonl held-out.jsonl --stats expert_stats.moestats --criterion reap,random --keep 48,32",
          "which criterion does less damage, before prune writes a file"},
         {"moescope evaluate -m model.gguf --jsonl held-out.jsonl --against small.gguf",
          "what a file that is there costs"}});
    model_verb::add(app, verb, [verb, o] { run_evaluate(*verb, *o); });
}

}  // namespace moescope::cli
