// moescope analyze KIND: answers from traces and logs. The kinds are in cli/answers.

#include <CLI/CLI.hpp>

#include "cli/answers/kinds.hpp"
#include "cli/help/examples.hpp"
#include "cli/verbs.hpp"

namespace moescope::cli {

void add_analyze(CLI::App & app) {
    CLI::App & verb =
        *app.add_subcommand("analyze", "answers from a trace: what is hot, what repeats, what can be cached");
    verb.require_subcommand(1);
    for (auto add : all_kinds()) {
        add(verb);
    }
    add_examples(verb, {{"moescope analyze frequency run.moetrace", "how often each expert was selected"},
                        {"moescope analyze cache --help", "what one kind of question takes and answers"}});
}

}  // namespace moescope::cli
