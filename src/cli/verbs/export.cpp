#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/terminal/output.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "formats/format.hpp"
#include "logs/open.hpp"

namespace moescope::cli {

namespace {

struct export_options {
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

void say(const std::vector<std::string> & notes) {
    for (const std::string & line : notes) {
        if (line.rfind('{', 0) != 0) {  // those are for programs: which prompt a batch belongs to
            note(printable(line));
        }
    }
}

// A folder that is written whole or not at all: under a temporary name beside the result, renamed at the end.
class output_folder {
public:
    output_folder(const std::string & target, bool force) : target_(target) {
        while (target_.size() > 1 && target_.back() == '/') {
            target_.pop_back();
        }
        if (target_ == "-") {
            throw usage_error("this format is a folder: give its name with -o");
        }
        std::error_code ec;
        const bool      ours = std::filesystem::exists(target_ + "/schema.json", ec) ||
                          std::filesystem::exists(target_ + "/traces", ec) || std::filesystem::is_empty(target_, ec);
        if (std::filesystem::exists(target_, ec) && !force) {
            throw error("the folder exists").in(target_).fix("choose another name or give --force");
        }
        if (std::filesystem::exists(target_, ec) && !ours) {
            throw error("--force replaces only folders that an export wrote").in(target_).fix("choose another name");
        }
        name_ = target_ + ".XXXXXX";
        if (::mkdtemp(name_.data()) == nullptr) {
            throw error(std::string("cannot create: ") + std::strerror(errno))
                .in(target_)
                .fix("choose another place with -o");
        }
        const mode_t mask = ::umask(0);
        ::umask(mask);
        ::chmod(name_.c_str(), 0777 & ~mask);
    }
    ~output_folder() {
        std::error_code ec;
        if (!name_.empty()) {
            std::filesystem::remove_all(name_, ec);
        }
    }
    output_folder(const output_folder &)             = delete;
    output_folder & operator=(const output_folder &) = delete;

    const std::string & name() const { return name_; }
    void                rename_into_place() {
                       std::error_code ec;
                       std::filesystem::remove_all(target_, ec);
                       std::filesystem::rename(name_, target_, ec);
                       if (ec) {
                           throw error("cannot rename into place: " + ec.message()).in(target_);
        }
                       name_.clear();
    }

private:
    std::string target_, name_;
};

void run_export(const export_options & o) {
    const formats::format & format = *formats::find_format(o.format);
    const auto              source = logs::open_source(o.trace);
    if (source->info().lost_bytes > 0) {
        note(fmt::format("{} bytes at the end of the trace are incomplete and left out (see 'moescope check')",
                         with_commas(source->info().lost_bytes)));
    }
    say(source->info().notes);

    progress                 bar("export", 0, "ubatches");
    const auto               tick = [&](uint64_t n) { bar.update(n); };
    std::vector<std::string> notes;
    if (format.to_folder != nullptr) {
        output_folder folder(o.output.path, o.output.force);
        notes = formats::write_all(*source, *format.to_folder(folder.name(), o.how), tick);
        folder.rename_into_place();
    } else {
        write_output(o.output,
                     [&](std::FILE * out) { notes = formats::write_all(*source, *format.to_file(out, o.how), tick); });
    }
    say(notes);
}

}  // namespace

void add_export(CLI::App & app) {
    CLI::App & verb = *app.add_subcommand("export", "write a trace in another format");
    const auto o    = std::make_shared<export_options>();
    verb.add_option("trace", o->trace, "a trace, or a foreign log (see docs/logs.md)")->required()->type_name("T");

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
    add_output_options(verb, o->output, "where to write (default: stdout; a folder where the format is one)");
    verb.callback([o] { run_export(*o); });
}

}  // namespace moescope::cli
