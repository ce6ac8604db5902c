// moescope export: a trace in another format.

#include <filesystem>
#include <functional>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/tools/prompt_labels.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "formats/format.hpp"
#include "io/output_folder.hpp"
#include "logs/open.hpp"

namespace moescope::cli {

namespace {

struct export_options {
    bool                    with_removed = false;
    std::string             trace;
    std::string             format;
    formats::export_options how;
    output_options          output;
};

std::string format_help() {
    std::string text = "one of";
    for (const formats::format & f : formats::all_formats()) {
        text += fmt::format("\n{:<14} {}{}", f.name, f.what, f.to_folder ? " (a folder)" : "");
    }
    return text;
}

void say_notes(const std::vector<std::string> & notes) {
    for (const std::string & line : analysis::without_prompt_labels(notes)) {
        note(printable(line));
    }
}

// --force replaces folders that an export wrote, and empty ones.
void refuse_other_folders(const std::string & path) {
    namespace fs = std::filesystem;
    std::error_code unknown;
    if (fs::is_directory(path, unknown) && !fs::is_empty(path, unknown) &&
        !fs::exists(path + "/schema.json", unknown) && !fs::exists(path + "/traces", unknown)) {
        throw error("--force replaces only folders that an export wrote").in(path).fix("choose another name");
    }
}

std::vector<std::string> export_to_folder(trace::trace_source & source, const formats::format & format,
                                          const export_options & o, const trace::read_progress & tick) {
    if (o.output.path == "-") {
        throw usage_error("this format writes a folder: name it with -o");
    }
    if (o.output.force) {
        refuse_other_folders(o.output.path);
    }
    io::output_folder        folder(o.output.path, policy_of(o.output.force), files_of(o.output.inputs));
    std::vector<std::string> notes = formats::write_all(source, *format.to_folder(folder.name(), o.how), tick);
    folder.commit();
    return notes;
}

void run_export(export_options & o) {
    const formats::format & format = *formats::find_format(o.format);
    const auto              source = logs::open_source(o.trace);
    source->include_taken_back(o.with_removed);
    o.output.inputs = {o.trace, o.how.model};
    if (format.to_folder == nullptr) {
        check_output(o.output);
    }
    if (source->info().lost_bytes > 0) {
        note(fmt::format("{} bytes at the end of the trace are incomplete and left out (see 'moescope check')",
                         with_commas(source->info().lost_bytes)));
    }
    say_notes(source->info().notes);

    progress   bar("export", 0, "ubatches");
    const auto tick = [&](const trace::amount_read & read) {
        bar.update(read.ubatches);
        return true;
    };
    std::vector<std::string> notes;
    if (format.to_folder != nullptr) {
        notes = export_to_folder(*source, format, o, tick);
    } else if (format.whole != nullptr) {
        write_output(o.output, [&](std::FILE * out) { notes = format.whole(*source, out); });
    } else {
        write_output(o.output,
                     [&](std::FILE * out) { notes = formats::write_all(*source, *format.to_file(out, o.how), tick); });
    }
    say_notes(notes);
}

}  // namespace

void add_export(CLI::App & app) {
    CLI::App & verb = *app.add_subcommand("export", "write a trace in another format");
    const auto o    = std::make_shared<export_options>();
    verb.add_option("T", o->trace, "a trace, or a log of another tool (docs/logs.md)")->required()->type_name("");

    std::vector<std::string> names;
    for (const formats::format & f : formats::all_formats()) {
        names.emplace_back(f.name);
    }
    verb.add_option("-f,--format", o->format, format_help())
        ->required()
        ->type_name("FORMAT")
        ->check(CLI::IsMember(names));
    verb.add_option("--max-columns", o->how.max_columns, "log: show at most N values of each list")->type_name("N");
    verb.add_option("--model", o->how.model, "access-json: the GGUF file (default: the one that the trace names)")
        ->type_name("FILE");
    verb.add_flag("--with-removed", o->with_removed, "write drafts that were rejected, too");
    add_output_options(verb, o->output, "the file, or the folder if the format writes one (default: stdout)");
    add_examples(verb, {{"moescope export run.moetrace -f csv -o run.csv", "a line for each token and layer"},
                        {"moescope export run.moetrace -f npy -o run", "arrays for numpy, in a folder"}});
    verb.callback([o] { run_export(*o); });
}

}  // namespace moescope::cli
