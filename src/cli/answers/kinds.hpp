#pragma once

#include <vector>

namespace CLI {
class App;
}

namespace moescope::cli {

// Adds a kind of analysis as a subcommand of `analyze`.
using add_kind = void (*)(CLI::App & analyze);

// The kinds, in the order in which --help lists them.
std::vector<add_kind> all_kinds();

}  // namespace moescope::cli
