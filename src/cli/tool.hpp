#pragma once

namespace moescope::cli {

// The whole of `moescope`: parses the command line, runs the verb, turns what it throws into one line on stderr. Returns
// the exit code. Apart from main, so that main does not include the command line's heavy header.
int run_tool(int argc, char ** argv);

}  // namespace moescope::cli
