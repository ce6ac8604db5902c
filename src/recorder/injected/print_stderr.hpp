#pragma once

#include <string>

namespace moescope::recorder {

// Writes whole lines to stderr, past any buffer of the host's.
void print_stderr(const std::string & lines);

}  // namespace moescope::recorder
