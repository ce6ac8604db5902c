#include "cli/tool.hpp"

#include <new>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/help/licences.hpp"
#include "cli/help/overview.hpp"
#include "cli/help/unknown.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "core/version.hpp"

namespace moescope::cli {

namespace {

constexpr int exit_failed = 1;
constexpr int exit_usage  = 2;

constexpr char exit_codes[] =
    "Results go to stdout or to -o FILE, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage,\n"
    "130 interrupted; record passes on the code of the program that it ran.";

int complain(int code, const std::string & line) {
    say_line(line);
    return code;
}

void add_verbs(CLI::App & app) {
    for (const verb_group & group : all_verbs()) {
        for (const add_verb add : group.verbs) {
            add(app);
            app.get_subcommands([](CLI::App *) { return true; }).back()->group(group.title);
        }
    }
}

void set_up(CLI::App & app) {
    app.name("moescope");
    app.require_subcommand(1);
    app.get_formatter()->column_width(34);
    const std::string version_line = "moescope " + std::string(version);
    // Before --version, so that with both this one answers.
    app.add_flag_callback(
        "--licenses", [=] { throw CLI::CallForVersion(version_line + "\n\n" + licences(), 0); },
        "print the licences of moescope and of all it brings along");
    app.set_version_flag("--version", version_line);
    add_verbs(app);
    app.footer(exit_codes);  // after the verbs, which would inherit it
}

// What was asked for, of which files.
std::string command_line(int argc, char ** argv) {
    std::string line = "moescope";
    for (int i = 1; i < argc; ++i) {
        line += std::string(" ") + argv[i];
    }
    return line;
}

}  // namespace

int run_tool(int argc, char ** argv) {
    open_standard_streams();
    CLI::App app{
        "moescope: shows which experts a Mixture-of-Experts model on llama.cpp really uses.\n"
        "Start with: moescope record -- llama-completion -m model.gguf -p \"Hello\"   (any llama.cpp program)"};
    set_up(app);
    try {
        if (argc <= 1) {
            fmt::print("{}", overview(app));
            return 0;
        }
        check_verbs(app, {argv + 1, argv + argc});
        app.parse(argc, argv);
        return 0;
    } catch (const exit_with & e) {
        return e.code;
    } catch (const CLI::Success & e) {  // --help, --version
        return app.exit(e);
    } catch (const CLI::ParseError & e) {
        return complain(exit_usage, explain(app, e));
    } catch (const usage_error & e) {
        return complain(exit_usage, with_help(app, e));
    } catch (const std::bad_alloc &) {
        return complain(exit_failed, "not enough memory for: " + command_line(argc, argv));
    } catch (const std::exception & e) {
        return complain(exit_failed, e.what());
    }
}

}  // namespace moescope::cli
