// moescope stats: one screen about a trace.

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/answers/profile_files.hpp"
#include "cli/answers/profile_tables.hpp"
#include "cli/answers/shared.hpp"
#include "cli/answers/summary.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"

namespace moescope::cli {

namespace {

struct stats_options {
    std::string    trace;
    size_t         top     = 5;
    bool           heatmap = false;
    bool           access = false, requests = false, removed = false;
    std::string    model;
    answer_options answer;
};

void run_stats(stats_options & o) {
    o.answer.output.inputs = {o.trace, o.model};
    check_output(o.answer.output);
    if (!o.model.empty() && !o.access) {
        throw usage_error("--model goes with --access: nothing else needs the model file");
    }
    if (is_profile(o.trace)) {
        print_answer(answer_profile(o.trace, o.top), o.answer);
        return;
    }
    if (o.access) {
        print_answer(answer_access(o.trace, o.model, o.top), o.answer);
        return;
    }
    analyze_options all;
    all.traces       = {o.trace};
    all.top          = o.top;
    all.with_removed = o.removed;
    all.answer       = o.answer;
    if (o.requests) {
        print_answer(answer_requests(all), o.answer);
        return;
    }
    if (o.answer.json || o.answer.csv) {
        answer a = answer_stats(all);
        print_answer(a, o.answer);
        return;
    }
    const auto      source = open_trace(all, o.trace);
    summary_options how    = o.answer.output.path == "-" ? summary_options_for(stdout) : summary_options{};
    how.top                = o.top;
    how.heatmap            = how.heatmap || o.heatmap;
    const std::string text = summary_text(*source, how);
    write_text(o.answer.output, text);
}

}  // namespace

void add_stats(CLI::App & app) {
    const auto o = std::make_shared<stats_options>();
    CLI::App & verb =
        *app.add_subcommand("stats", "one screen: what ran, how evenly the experts are used, which are hot");
    verb.add_option("T", o->trace,
                    "a trace (.moetrace), a profile (.moestats, expert_stats.json), or a log of another tool")
        ->required()
        ->type_name("");
    verb.add_option("--top", o->top, "how many of the most and of the least used experts to name")
        ->capture_default_str()
        ->type_name("N");
    verb.add_flag("--heatmap", o->heatmap, "show layers x experts as characters even if the output is not a terminal");
    auto * requests = verb.add_flag("--requests", o->requests,
                                    "list the requests of a server, or the prompts of a run: slot, start, tokens");
    verb.add_flag("--with-removed", o->removed, "count drafts that were rejected, too");
    verb.add_flag("--access", o->access,
                  "the weights that were read, in bytes, hottest first; needs a trace of --capture access")
        ->excludes(requests);
    verb.add_option("--model", o->model, "with --access: the GGUF that ran (default: the one that the trace names)")
        ->type_name("MODEL");
    add_answer_options(verb, o->answer);
    add_examples(verb, {{"moescope stats run.moetrace", "how evenly the experts are used, and which are hot"},
                        {"moescope stats run.moetrace --json", "the same, for a program"}});
    verb.callback([o] { run_stats(*o); });
}

}  // namespace moescope::cli
