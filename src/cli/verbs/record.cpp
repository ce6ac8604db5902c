// moescope record: runs a llama.cpp program and records which experts it uses.

#include <cstring>
#include <filesystem>
#include <memory>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "capture/capture_options.hpp"
#include "cli/answers/summary.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "cli/verbs/mask_options.hpp"
#include "core/error.hpp"
#include "io/existing_file.hpp"
#include "recorder/launch/launch.hpp"
#include "recorder/launch/program.hpp"
#include "report/server.hpp"
#include "trace/reader.hpp"

namespace moescope::cli {

namespace {

struct record_options {
    recorder::launch_options launch;
    mask_options             mask;
    std::string              capture, max_size;
    std::string              live;  // as CLI11 has it: "", "true" for --live, or what follows it
    bool                     quiet = false, force = false;
};

// What --live shows while the program runs.
struct live_mode {
    enum { nothing, line, page } show = nothing;
    int port                          = 0;  // of the page; 0: any free one
};

live_mode parse_live(const std::string & text) {
    if (text.empty()) {
        return {};
    }
    if (text == "true") {
        return {live_mode::line};
    }
    if (text.size() > 5 || text.find_first_not_of("0123456789") != std::string::npos || std::stoi(text) > 65535) {
        throw usage_error("--live: '" + text + "' is not a port").fix("it takes 0 (any free one) to 65535");
    }
    return {live_mode::page, std::stoi(text)};
}

std::string default_name(const std::string & program) {
    return fmt::format("moescope.{}.{}.moetrace", std::filesystem::path(program).filename().string(), ::getpid());
}

// One line on stderr that follows the growing trace.
class ticker {
public:
    void update(const std::string & path) {
        try {
            if (!reader_) {
                reader_ = std::make_unique<trace::trace_reader>(path);
            } else if (!reader_->refresh()) {
                return;
            }
            for (routed_ubatch u; reader_->next(u);) {
                counts_.add(u);
            }
        } catch (const error &) {
            return;  // just being created
        }
        draw_line(fmt::format("moescope: {} tokens ({} decoded), {} ubatches, {}", with_commas(counts_.tokens),
                              with_commas(counts_.decoded), with_commas(counts_.ubatches),
                              human_bytes(reader_->info().bytes)));
    }

private:
    std::unique_ptr<trace::trace_reader> reader_;
    expert_counts                        counts_;
};

// The page of the traces while they grow; each is added as it appears.
class live_page {
public:
    explicit live_page(int port) : server_(options(port)) { note("live: " + server_.url()); }

    void update(const std::vector<std::string> & traces) {
        for (; n_added_ < traces.size(); ++n_added_) {
            try {
                server_.add_trace(traces[n_added_]);
            } catch (const error &) {
                return;  // just being created; the next look finds it
            }
        }
    }

private:
    static report::server_options options(int port) {
        report::server_options o;
        o.port             = port;
        o.live             = true;
        o.model_from_trace = true;
        return o;
    }

    report::page_server server_;
    size_t              n_added_ = 0;
};

// A line where a person can see it, or a page that is served.
class live_view {
public:
    explicit live_view(const live_mode & mode)
        : line_(mode.show == live_mode::line && is_terminal(stderr) && !is_quiet()) {
        if (mode.show == live_mode::page) {
            page_ = std::make_unique<live_page>(mode.port);
        }
    }
    void update(const recorder::launch_result & so_far) {
        if (page_) {
            page_->update(so_far.traces);
        } else if (line_ && !so_far.traces.empty()) {
            ticker_.update(so_far.traces[0]);
        }
    }
    bool on() const { return line_ || page_; }

private:
    bool                       line_;
    ticker                     ticker_;
    std::unique_ptr<live_page> page_;
};

void say_why_nothing(const recorder::launch_result & r, const record_options & o) {
    if (!r.stopped.empty()) {
        note("nothing was recorded: " + r.stopped);
    } else if (r.graphs == recorder::graphs_seen::dense) {
        note("nothing was recorded: the model has no MoE layers");
    } else if (r.graphs == recorder::graphs_seen::others) {
        note(fmt::format("nothing was recorded: none of the model's MoE layers is in --layers {}", o.launch.layers));
    } else if (r.signal != 0) {
        note("nothing was recorded: the program was killed before its first batch was complete");
    } else if (r.exit_code != 0) {
        note(fmt::format("nothing was recorded: {} ended with status {} before it computed anything",
                         o.launch.command[0], r.exit_code));
    } else {
        note(fmt::format(
            "nothing was recorded: no llama.cpp graph was seen in {}. It did no inference, or another process did it "
            "(then use --follow), or llama.cpp is linked into it statically",
            o.launch.command[0]));
    }
}

void print_result(const recorder::launch_result & r, const record_options & o) {
    if (o.launch.nop) {
        return;
    }
    if (r.traces.empty()) {
        say_why_nothing(r, o);
        return;
    }
    for (const std::string & path : r.traces) {
        say(summary_text(path, summary_options_for(stderr)));
    }
    if (!r.stopped.empty()) {
        note("recording stopped before the program did: " + r.stopped);
    }
    note(fmt::format("next: moescope report {} -o report.html", r.traces[0]));
}

void run_record(record_options & o) {
    if (o.launch.command.empty()) {
        throw usage_error("record needs a program to run: moescope record [options] -- PROGRAM ARGUMENTS");
    }
    set_quiet(o.quiet);
    if (!o.capture.empty()) {
        o.launch.capture = parse_capture_list(o.capture);
    }
    const layer_filter check(o.launch.layers);
    o.launch.mask = read_mask(o.mask);
    if (o.launch.nop && !o.launch.mask.empty()) {
        throw usage_error("--nop changes nothing: it does not go together with a mask");
    }
    if (!o.max_size.empty()) {
        o.launch.max_size = parse_bytes(o.max_size, "--max-size");
    }
    recorder::check_program(o.launch.command[0]);
    if (o.launch.trace_path.empty()) {
        o.launch.trace_path = default_name(o.launch.command[0]);
    }
    // Which model the program reads is not known here, so nothing but a trace is replaced, --force or not.
    io::refuse_existing(o.launch.trace_path, o.force ? io::existing_file::replace_own : io::existing_file::refuse,
                        trace::trace_file);
    const std::string folder = std::filesystem::absolute(o.launch.trace_path).parent_path();
    if (::access(folder.c_str(), W_OK) != 0) {
        throw error(std::string("cannot write here: ") + std::strerror(errno))
            .in(folder)
            .fix("choose another place with -o");
    }
    o.launch.trace_path = std::filesystem::absolute(o.launch.trace_path);  // the program may change its folder
    if (!o.launch.nop) {
        note("recording to " + o.launch.trace_path);
    }
    if (!o.launch.mask.empty()) {
        note(mask_note(o.launch.mask));
    }

    live_view                     live(parse_live(o.live));
    recorder::launch_tick         watch  = [&](const recorder::launch_result & so_far) { live.update(so_far); };
    const recorder::launch_result result = recorder::launch(o.launch, live.on() ? watch : recorder::launch_tick());
    clear_drawn_line();
    if (!o.quiet) {
        try {
            print_result(result, o);
        } catch (const error & e) {
            note(e.what());  // the program's exit code comes first
        }
    }
    // What was asked for was not done: the program's own success must not hide that.
    const bool nothing  = result.traces.empty() && !o.launch.mask.empty();
    const bool unmasked = nothing || !result.unmasked.empty();
    throw exit_with{result.exit_code == 0 && unmasked ? 1 : result.exit_code};
}

}  // namespace

void add_record(CLI::App & app) {
    const auto o    = std::make_shared<record_options>();
    CLI::App & verb = *app.add_subcommand("record", "run any llama.cpp program and record which experts it uses");
    verb.footer(
        "The program's files are not changed: a library that watches llama.cpp's graphs is loaded into it. Its exit code is\n"
        "passed on. The same works by hand: LD_PRELOAD=…/libmoescope-record.so MOESCOPE_OUTPUT=x.moetrace PROGRAM");
    verb.add_option("-o,--output", o->launch.trace_path, "trace file (default: moescope.PROGRAM.PID.moetrace)")
        ->type_name("FILE");
    verb.add_flag("--force", o->force, "replace an existing file");
    verb.add_option("--capture", o->capture,
                    "what to record (default: ids,weights): " + to_string(capture_list::all()) + ", or all")
        ->type_name("LIST");
    verb.add_option("--layers", o->launch.layers, "only these layers, e.g. 3 or 0,2,20-24")->type_name("LIST");
    add_mask_options(verb, o->mask);
    verb.add_flag("--no-text", o->launch.no_text, "leave the texts of tokens out of the trace; their ids stay");
    verb.add_flag("--no-tokens", o->launch.no_tokens, "leave out the ids of tokens as well as their texts");
    verb.add_flag("--counts-only", o->launch.counts_only,
                  "keep selection counts per expert instead of rows: stays small, for runs of days");
    verb.add_flag("--f16", o->launch.f16, "store weights, norms and scores in half precision");
    verb.add_option("--max-size", o->max_size, "start a new part of the trace at this size, e.g. 500M or 2G")
        ->type_name("BYTES");
    verb.add_flag("--follow", o->launch.follow, "record the program's child processes as well");
    verb.add_flag("--live", o->live,
                  "show tokens and bytes while the program runs; --live=PORT (0: any free one) also serves "
                  "the live page on that port of 127.0.0.1");
    verb.add_flag("--nop", o->launch.nop, "load the recorder but record nothing (to measure what that costs)");
    verb.add_flag("-q,--quiet", o->quiet, "print nothing but errors");
    verb.add_option("command", o->launch.command, "the program and its arguments, usually after --")->type_name("");
    verb.positionals_at_end();  // a forgotten -- is no matter: what follows the program is the program's
    add_examples(
        verb, {{"moescope record -- llama-completion -m model.gguf -p 'Hello'",
                "one run; the trace is named after the program"},
               {"moescope record -o server.moetrace -- llama-server -m model.gguf", "a server, until Ctrl-C ends it"},
               {"moescope record --capture ids,weights,norms --live=0 -- node app.mjs",
                "more columns, and a page that shows them while the program runs"}});
    verb.callback([o] { run_record(*o); });
}

}  // namespace moescope::cli
