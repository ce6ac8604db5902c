// moescope report: traces and profiles as one HTML page, or as charts.

#include <cstdio>
#include <filesystem>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/answers/profile_files.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "report/charts.hpp"
#include "report/html.hpp"
#include "report/page_bundle.hpp"
#include "report/report.hpp"

namespace moescope::cli {

namespace {

struct report_options {
    report::report_options report;
    output_options         output;
    bool                   no_text = false;
    std::string            charts;  // folder
    int32_t                chart_layer = -1;
};

report::page read_traces(const report::report_options & o) {
    progress bar("reading", 0, "tokens");
    return report::build_page(o, [&](const std::string &, uint64_t tokens) { bar.update(tokens); });
}

// The first run's charts; those of further runs with their number in the name.
void write_charts(const report_options & o, const report::page & p) {
    std::error_code failed;
    std::filesystem::create_directories(o.charts, failed);
    if (failed) {
        throw error("cannot create the folder: " + failed.message()).in(o.charts);
    }
    for (size_t i = 0; i < p.runs.size(); ++i) {
        for (const report::chart & c : report::draw_charts(p.runs[i], o.chart_layer)) {
            const std::string path = fmt::format("{}/{}{}", o.charts, c.name, i == 0 ? "" : fmt::format(".{}", i + 1));
            write_text({path + ".svg", o.output.force, o.output.inputs}, c.svg);
            write_text({path + ".png", o.output.force, o.output.inputs}, c.png);
            note(path + ".svg, .png");
        }
    }
}

void write_page(const report_options & o, const report::page & p) {
    const std::string html = report::page_with_data(report::to_bytes(p, true));
    write_text(o.output, html);
    if (o.output.path != "-") {
        note(fmt::format("{}: {}; open it in a browser", o.output.path, human_bytes(html.size())));
    }
}

void run_report(report_options & o) {
    o.report.text         = !o.no_text;
    o.report.read_profile = [](const std::string & path) {
        return is_profile(path) ? std::optional(read_profile(path)) : std::nullopt;
    };
    if (o.report.labels.size() > o.report.traces.size()) {
        throw usage_error("--label: more labels than traces");
    }
    o.output.inputs = o.report.traces;
    o.output.inputs.insert(o.output.inputs.end(), {o.report.model, o.report.evaluation});
    // A folder for charts alone asks for no page.
    const bool page_wanted = o.charts.empty() || !o.output.path.empty();
    if (page_wanted) {
        o.output.path = o.output.path.empty() ? "report.html" : o.output.path;
        check_output(o.output);  // before the reading, which may take long
    }
    const report::page p = read_traces(o.report);
    for (const std::string & n : p.notes) {
        note(printable(n));
    }
    if (!o.charts.empty()) {
        write_charts(o, p);
    }
    if (page_wanted) {
        write_page(o, p);
    }
}

}  // namespace

void add_report(CLI::App & app) {
    const auto o = std::make_shared<report_options>();
    CLI::App & verb =
        *app.add_subcommand("report", "write a self-contained HTML page of one or more traces or profiles");
    o->output.path.clear();  // report.html, unless only charts are wanted
    verb.add_option("T", o->report.traces, "traces, logs of other tools, or profiles (.moestats, expert_stats.json)")
        ->required()
        ->type_name("");
    verb.add_option("--model", o->report.model, "the GGUF that ran, for the memory view")->type_name("MODEL");
    verb.add_option("--evaluation", o->report.evaluation, "JSON of moescope evaluate, for the damage view")
        ->type_name("FILE");
    verb.add_option("--label", o->report.labels, "name of a trace on the page; once per trace, in order")
        ->type_name("TEXT")
        ->allow_extra_args(false);
    verb.add_flag("--no-text", o->no_text, "leave out the text of the tokens");
    verb.add_option("--charts", o->charts,
                    "write the standard charts as SVG and PNG into this folder, and no page unless -o is given")
        ->type_name("DIR");
    verb.add_option("--chart-layer", o->chart_layer, "layer of the chart expert_heatmap (default: the middle one)")
        ->check(CLI::NonNegativeNumber)
        ->type_name("N");
    add_output_options(verb, o->output, "the page; '-' is stdout (default: report.html)");
    add_examples(verb,
                 {{"moescope report run.moetrace -o report.html", "one file that any browser shows, without a network"},
                  {"moescope report run.moetrace --model model.gguf --charts charts",
                   "with the view of memory, and charts as SVG and PNG"}});
    verb.callback([o] { run_report(*o); });
}

}  // namespace moescope::cli
