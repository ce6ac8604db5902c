#include <memory>

#include <fmt/format.h>

#include "cli/output.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "export/format.hpp"
#include "trace/source.hpp"

namespace moescope::cli {

namespace {

struct options {
    std::string             trace;
    std::string             format;
    exports::export_options how;
    output_options          output;
};

std::string format_help() {
    std::string text = "one of";
    for (const exports::format & f : exports::all_formats()) {
        text += fmt::format("\n{:<14} {}{}", f.name, f.what, f.to_folder ? " (a folder)" : "");
    }
    return text;
}

void say(const std::vector<std::string> & notes) {
    for (const std::string & line : notes) {
        note(line);
    }
}

void run_export(const options & o) {
    const exports::format & format = *exports::find_format(o.format);
    const auto              source = trace::open_source(o.trace);
    if (source->info().lost_bytes > 0) {
        note(fmt::format("{} bytes at the end of the trace are incomplete and left out (see 'moescope check')",
                         with_commas(source->info().lost_bytes)));
    }
    say(source->info().notes);

    progress                 bar("export", 0, "ubatches");
    const auto               tick = [&](uint64_t n) { bar.update(n); };
    std::vector<std::string> notes;
    write_output(o.output, [&](std::FILE * out) {
        const auto to = format.to_file(out, o.how);
        notes         = exports::write_all(*source, *to, tick);
    });
    say(notes);
}

}  // namespace

void add_export(CLI::App & app) {
    CLI::App & verb = *app.add_subcommand("export", "write a trace in another format");
    const auto o    = std::make_shared<options>();
    verb.add_option("trace", o->trace, "a trace, or a foreign log (see docs/formats.md)")->required()->type_name("T");

    std::vector<std::string> names;
    for (const exports::format & f : exports::all_formats()) {
        names.emplace_back(f.name);
    }
    verb.add_option("-f,--format", o->format, format_help())->required()->type_name("FORMAT")->check(CLI::IsMember(names));
    verb.add_option("--max-columns", o->how.max_columns, "log: show at most N values of each list")->type_name("N");
    add_output_options(verb, o->output, "where to write (default: stdout; a folder where the format is one)");
    verb.callback([o] { run_export(*o); });
}

}  // namespace moescope::cli
