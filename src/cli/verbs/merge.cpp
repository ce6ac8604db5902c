// moescope merge: adds up profiles of one model.

#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/answers/profile_summary.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
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

void run_merge(merge_options & o) {
    set_quiet(o.quiet);
    o.output.inputs           = o.inputs;
    const output_options json = {o.json, o.output.force, o.inputs};
    check_output(o.output);
    if (!o.json.empty()) {
        check_output(json);
    }
    stats::moestats sum = stats::read_moestats(o.inputs.front());
    if (!sum.complete()) {
        throw error("the profile is not finished").in(o.inputs.front()).fix("finish it with moescope profile --resume");
    }
    for (size_t i = 1; i < o.inputs.size(); ++i) {
        stats::merge_into(sum, o.inputs.front(), stats::read_moestats(o.inputs[i]), o.inputs[i]);
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

}  // namespace

void add_merge(CLI::App & app) {
    CLI::App & verb = *app.add_subcommand("merge", "add up profiles of one model");
    const auto o    = std::make_shared<merge_options>();
    verb.add_option("FILE", o->inputs, ".moestats files")->required()->type_name("");
    verb.add_option("-o,--output", o->output.path, "the .moestats file to write")->required()->type_name("FILE");
    verb.add_option("--expert-stats", o->json, "also write an expert_stats.json")->type_name("FILE");
    verb.add_flag("--force", o->output.force, "replace existing files");
    verb.add_flag("-q,--quiet", o->quiet, "no notes, no summary");
    add_examples(verb, {{"moescope merge a.moestats b.moestats -o all.moestats", "what both profiles saw"}});
    verb.callback([o] { run_merge(*o); });
}

}  // namespace moescope::cli
