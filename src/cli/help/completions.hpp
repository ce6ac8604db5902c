#pragma once

#include <string>

#include "cli/help/command_page.hpp"

namespace moescope::cli {

// A script that teaches a shell moescope's verbs, options and the values they take; anything else completes to file names,
// and what follows -- to a command of its own. `root` is moescope's own page.
std::string bash_completion(const command_page & root);
std::string zsh_completion(const command_page & root);
std::string fish_completion(const command_page & root);

}  // namespace moescope::cli
