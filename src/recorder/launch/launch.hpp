#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace moescope::recorder {

// How a program is started under the recorder.
struct launch_options {
    std::vector<std::string> command;  // program and arguments
    std::string              trace_path;
    std::string              capture;  // capture list
    std::string              layers;
    bool                     counts_only = false;
    bool                     f16         = false;
    bool                     nop         = false;
    bool                     follow      = false;  // record children too
    uint64_t                 max_size    = 0;
};

// What became of it.
struct launch_result {
    int                      exit_code = 0;  // the program's own; 128+n when signal n ended it
    int                      signal    = 0;  // that ended it, or 0
    std::vector<std::string> traces;         // by stream, in the order of their creation
    std::string              stopped;        // why recording ended before the program did
    std::string              graphs;         // "none", "dense", "moe"; empty when the program was killed
};

using launch_tick = std::function<void(const launch_result & so_far)>;

// Runs the program in the foreground: its stdin, stdout and stderr are ours, signals that reach us are passed on. `tick`,
// where there is one, is called a few times a second while it runs (with the trace files known so far). Throws error when
// it cannot start.
launch_result launch(const launch_options & options, const launch_tick & tick);

}  // namespace moescope::recorder
