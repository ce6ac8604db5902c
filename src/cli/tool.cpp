#include "cli/tool.hpp"

#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "core/version.hpp"

namespace moescope::cli {

namespace {

constexpr int exit_failed = 1;
constexpr int exit_usage  = 2;

int complain(int code, const std::string & line) {
    fmt::print(stderr, "moescope: {}\n", line);
    return code;
}

// CLI11's own texts name the option and what it takes; they may span lines.
std::string one_line(std::string text) {
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    for (char & c : text) {
        c = c == '\n' ? ' ' : c;
    }
    return text;
}

}  // namespace

int run_tool(int argc, char ** argv) {
    CLI::App app{
        "moescope: shows which experts a Mixture-of-Experts model on llama.cpp really uses.\n"
        "Start with: moescope record -- llama-completion -m model.gguf -p \"Hello\"   (any llama.cpp program)"};
    app.name("moescope");
    app.set_version_flag("--version", "moescope " + std::string(version));
    app.require_subcommand(1);
    app.get_formatter()->column_width(34);

    for (auto add : all_verbs()) {
        add(app);
    }
    try {
        app.parse(argc, argv);
        return 0;
    } catch (const exit_with & e) {
        return e.code;
    } catch (const CLI::Success & e) {  // --help, --version
        return app.exit(e);
    } catch (const CLI::RequiredError & e) {
        const std::vector<std::string> unknown = app.remaining(true);  // more likely the reason than what is missing
        return complain(exit_usage, (unknown.empty() ? one_line(e.what()) : "unknown argument '" + unknown[0] + "'") +
                                        " (see moescope --help)");
    } catch (const CLI::ParseError & e) {
        return complain(exit_usage, one_line(e.what()) + " (see moescope --help)");
    } catch (const usage_error & e) {
        return complain(exit_usage, e.what());
    } catch (const std::exception & e) {
        return complain(exit_failed, e.what());
    }
}

}  // namespace moescope::cli
