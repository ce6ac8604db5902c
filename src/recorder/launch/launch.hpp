#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/capture_list.hpp"
#include "core/expert_mask.hpp"

namespace moescope::recorder {

// How a program is started under the recorder.
struct launch_options {
    std::vector<std::string>    command;  // program and arguments
    std::string                 trace_path;
    std::optional<capture_list> capture;              // without: the recorder's default
    std::string                 layers;               // as layer_filter reads them
    expert_mask                 mask;                 // under which the program computes
    bool                        no_text     = false;  // the trace holds no texts of tokens …
    bool                        no_tokens   = false;  // … and no ids of theirs
    bool                        counts_only = false;
    bool                        f16         = false;
    bool                        nop         = false;
    bool                        follow      = false;  // record children too
    uint64_t                    max_size    = 0;      // bytes of a part; 0: one part
};

// What the recorder saw of a program, when it ended: nothing where the program was killed.
// dense: without MoE blocks; others: with MoE blocks, but none in the layers asked for.
enum class graphs_seen { nothing_known, none, dense, others, moe };

// What became of it.
struct launch_result {
    int                      exit_code = 0;  // the program's own; 128+n when signal n ended it
    int                      signal    = 0;  // that ended it, or 0
    std::vector<std::string> traces;         // by stream, in the order of their creation
    std::string              stopped;        // why recording ended before the program did
    std::string              unmasked;       // why something was computed without the mask asked for
    graphs_seen              graphs = graphs_seen::nothing_known;
};

using launch_tick = std::function<void(const launch_result & so_far)>;

// Runs the program in the foreground: its stdin, stdout and stderr are ours, signals that reach us are passed on. `tick`,
// where there is one, is called a few times a second while it runs (with the trace files known so far). Throws error when
// it cannot start, and where the mask's text is longer than the environment takes.
launch_result launch(const launch_options & options, const launch_tick & tick);

}  // namespace moescope::recorder
