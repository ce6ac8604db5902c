// moescope analyze KIND: answers from traces and logs. The kinds are in cli/answers.

#include <CLI/CLI.hpp>

#include "cli/answers/kinds.hpp"
#include "cli/verbs.hpp"

namespace moescope::cli {

void add_analyze(CLI::App & app) {
    CLI::App & verb =
        *app.add_subcommand("analyze", "answers from a trace: what is hot, what repeats, what can be cached");
    verb.require_subcommand(1);
    for (auto add : all_kinds()) {
        add(verb);
    }
}

}  // namespace moescope::cli
