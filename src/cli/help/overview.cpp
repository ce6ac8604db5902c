#include "cli/help/overview.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace moescope::cli {

namespace {

constexpr char overview_text[] = R"(moescope shows which experts a Mixture-of-Experts model on llama.cpp really uses.

  moescope record -o run.moetrace -- llama-completion -m model.gguf -p "Hello"
      record any llama.cpp program, which runs as always
  moescope stats run.moetrace
      one screen: which experts are hot, which are dead, how evenly they are used
  moescope report run.moetrace -o report.html
      every token with its experts, as a page for the browser

)";

}  // namespace

std::string overview(const CLI::App & app) {
    std::string text = overview_text, group;
    for (const CLI::App * verb : app.get_subcommands({})) {
        if (verb->get_group() != group) {
            text += group.empty() ? "" : "\n";
            group = verb->get_group();
            text += fmt::format("{:<8}", group);
        }
        text += " " + verb->get_name();
    }
    return text + "\n\n'moescope help VERB' explains a verb, 'moescope doctor' says what can be recorded here.\n";
}

}  // namespace moescope::cli
