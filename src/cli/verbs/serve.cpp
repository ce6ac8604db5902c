// moescope serve: the page of traces from a local server.

#include <csignal>
#include <memory>

#include <spawn.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/help/examples.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "report/server.hpp"

namespace moescope::cli {

namespace {

struct serve_options {
    report::server_options   server;
    std::vector<std::string> traces, labels;
    bool                     no_text = false, open = false;
};

// Shows the address in the person's browser, if there is a way to.
void open_browser(const std::string & url) {
    std::string program = "xdg-open", address = url;
    char *      argv[] = {program.data(), address.data(), nullptr};
    pid_t       pid    = 0;
    if (::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv, ::environ) != 0) {
        note("xdg-open was not found; open the address yourself");
    }
}

void run_serve(serve_options & o) {
    o.server.text = !o.no_text;
    if (o.labels.size() > o.traces.size()) {
        throw usage_error("--label: more labels than traces");
    }
    // Blocked before any thread starts, so that it is this thread that hears of them.
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGINT);
    ::sigaddset(&signals, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    report::page_server server(o.server);
    for (size_t i = 0; i < o.traces.size(); ++i) {
        server.add_trace(o.traces[i], i < o.labels.size() ? o.labels[i] : "");
    }
    fmt::print("{}\n", server.url());
    std::fflush(stdout);
    note("only this machine can reach the page; stop with Ctrl-C");
    if (o.open) {
        open_browser(server.url());
    }
    int signal = 0;
    ::sigwait(&signals, &signal);
    server.stop();
    if (!server.problem().empty()) {
        note(printable(server.problem()));
    }
    throw exit_with{exit_interrupted};
}

}  // namespace

void add_serve(CLI::App & app) {
    const auto o    = std::make_shared<serve_options>();
    CLI::App & verb = *app.add_subcommand("serve", "serve the page of one or more traces on this machine");
    verb.add_option("T", o->traces, "traces, or logs of other tools")->required()->type_name("");
    verb.add_option("--model", o->server.model, "the GGUF that ran, for the memory view")->type_name("MODEL");
    verb.add_option("--label", o->labels, "name of a trace on the page; once per trace, in order")
        ->type_name("TEXT")
        ->allow_extra_args(false);
    verb.add_option("--port", o->server.port, "port of 127.0.0.1 (default: any free one)")
        ->check(CLI::Range(0, 65535))
        ->type_name("PORT");
    verb.add_flag("--live", o->server.live, "follow traces that are still being written");
    verb.add_flag("--no-text", o->no_text, "leave out the text of the tokens");
    verb.add_flag("--open", o->open, "open the page in the browser");
    add_examples(verb, {{"moescope serve run.moetrace", "the page of report, from this machine alone"},
                        {"moescope serve run.moetrace --live", "the same while the trace grows"}});
    verb.callback([o] { run_serve(*o); });
}

}  // namespace moescope::cli
