// moescope merge: adds up profiles of one model, or the shards of one evaluation.

#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/answers/evaluation.hpp"
#include "cli/answers/profile_files.hpp"
#include "cli/answers/profile_summary.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "evaluate/evaluation.hpp"
#include "io/path.hpp"
#include "stats/expert_stats.hpp"
#include "stats/merge.hpp"

namespace moescope::cli {

namespace {

struct merge_options {
    std::vector<std::string> inputs;
    output_options           output{"", false};
    std::string              json;
    bool                     quiet = false;
};

void merge_evaluations(const merge_options & o) {
    if (!o.json.empty()) {
        throw usage_error("--expert-stats is of profiles, and these are evaluations");
    }
    const output_options json = {io::without_suffix(o.output.path, ".moeval") + ".json", o.output.force, o.inputs};
    check_output(json);
    evaluate::evaluation sum = evaluate::read_moeval(o.inputs.front());
    if (!sum.complete) {
        throw error("it is not finished").in(o.inputs.front()).fix("finish it with moescope evaluate --resume");
    }
    for (size_t i = 1; i < o.inputs.size(); ++i) {
        evaluate::add_shard(sum, evaluate::read_moeval(o.inputs[i]), o.inputs[i]);
    }
    const answer a = answer_evaluation(sum, 20);
    write_text(o.output, evaluate::encode_moeval(sum));
    write_text(json, to_text(answer_json(a)));
    if (!o.quiet) {
        print_answer(a, {});
    }
    note(fmt::format("merged {} shards into {} and {}", o.inputs.size(), o.output.path, json.path));
}

void merge_profiles(const merge_options & o) {
    const output_options json = {o.json, o.output.force, o.inputs};
    if (!o.json.empty()) {
        check_output(json);
    }
    stats::moestats sum = read_profile_or_trace(o.inputs.front());
    if (!sum.complete()) {
        throw error("the profile is not finished").in(o.inputs.front()).fix("finish it with moescope profile --resume");
    }
    for (size_t i = 1; i < o.inputs.size(); ++i) {
        stats::merge_into(sum, o.inputs.front(), read_profile_or_trace(o.inputs[i]), o.inputs[i]);
    }
    write_text(o.output, stats::encode_moestats(sum));
    if (!o.json.empty()) {
        write_text(json, stats::expert_stats_json(sum));
    }
    if (!o.quiet && o.output.path != "-") {
        print_profile(stdout, sum);
    }
    note(fmt::format("merged {} profiles into {}", o.inputs.size(), o.output.path));
}

void run_merge(merge_options & o) {
    set_quiet(o.quiet);
    o.output.inputs = o.inputs;
    check_output(o.output);
    if (evaluate::is_moeval(o.inputs.front())) {
        merge_evaluations(o);
    } else {
        merge_profiles(o);
    }
}

}  // namespace

void add_merge(CLI::App & app) {
    CLI::App & verb = *app.add_subcommand("merge", "add up profiles of one model, or shards of one evaluation");
    const auto o    = std::make_shared<merge_options>();
    verb.add_option("FILE", o->inputs,
                    "profiles (.moestats), traces of --capture ids,weights,norms, or evaluations (.moeval)")
        ->required()
        ->type_name("");
    verb.add_option("-o,--output", o->output.path,
                    "the .moestats or .moeval file to write (beside the latter, NAME.json)")
        ->required()
        ->type_name("FILE");
    verb.add_option("--expert-stats", o->json, "also write an expert_stats.json")->type_name("FILE");
    verb.add_flag("--force", o->output.force, "replace existing files");
    verb.add_flag("-q,--quiet", o->quiet, "no notes, no summary");
    add_examples(verb, {{"moescope merge a.moestats b.moestats -o all.moestats", "what both profiles saw"}});
    verb.callback([o] { run_merge(*o); });
}

}  // namespace moescope::cli
