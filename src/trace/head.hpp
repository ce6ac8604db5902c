#pragma once

#include <cstdint>
#include <string>

#include "core/capture_list.hpp"

namespace moescope::trace {

// Who made a trace; begins the file.
struct trace_head {
    std::string  program;  // base name of the program that ran
    int64_t      pid             = 0;
    uint32_t     stream          = 1;  // number of the stream within its process
    uint64_t     started_unix_ns = 0;  // wall clock
    uint64_t     trace_id        = 0;  // random, never 0; the same in every part
    capture_list captured;
    std::string  mask;  // under which the program computed, as expert_mask::to_text gives it; empty: none

    // Of a trace that this process begins now, with an id of its own.
    static trace_head of_this_process(const capture_list & captured, uint32_t stream = 1, std::string mask = {});
};

}  // namespace moescope::trace
