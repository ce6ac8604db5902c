#pragma once

// One file per verb. Each adds its subcommand to the app: options, help, and a callback that calls the library and prints.
// A callback throws usage_error (exit 2) or error (exit 1); verbs with an exit code of their own throw exit_with.

#include <vector>

namespace CLI {
class App;  // its header is heavy: only the files that parse need it
}

namespace moescope::cli {

inline constexpr int exit_interrupted = 130;

struct exit_with {
    int code;
};
using add_verb = void (*)(CLI::App & app);

// Verbs that belong together, under one title.
struct verb_group {
    const char *          title;
    std::vector<add_verb> verbs;
};

// The verbs of this build, in the order in which --help lists them (src/cli/all_verbs.cpp).
std::vector<verb_group> all_verbs();

void add_record(CLI::App & app);
void add_run(CLI::App & app);
void add_profile(CLI::App & app);
void add_merge(CLI::App & app);
void add_stats(CLI::App & app);
void add_info(CLI::App & app);
void add_check(CLI::App & app);
void add_analyze(CLI::App & app);
void add_sql(CLI::App & app);
void add_export(CLI::App & app);
void add_map(CLI::App & app);
void add_prune(CLI::App & app);
void add_reorder(CLI::App & app);
void add_evaluate(CLI::App & app);
void add_report(CLI::App & app);
void add_serve(CLI::App & app);
void add_doctor(CLI::App & app);
void add_help(CLI::App & app);

}  // namespace moescope::cli
