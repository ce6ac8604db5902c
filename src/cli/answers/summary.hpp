#pragma once

// The one-screen summary that `stats` prints, and `record` and `run` when they end.

#include <cstdio>
#include <string>

#include "trace/source.hpp"

namespace moescope::cli {

struct summary_options {
    int    width   = 100;
    int    height  = 0;  // lines that a person sees at once; 0: does not matter
    bool   color   = false;
    bool   heatmap = false;
    size_t top     = 5;  // experts named at each end
};

// What suits a stream: width, colour and the heatmap where it is a terminal; NO_COLOR is honoured.
summary_options summary_options_for(std::FILE * stream);

// Reads the source through once. Ends with a newline; says so when the trace is empty.
std::string summary_text(trace::trace_source & source, const summary_options & o);

// Opens the trace, too: the last thing `record` and `run` say. Throws error.
std::string summary_text(const std::string & trace_path, const summary_options & o);

}  // namespace moescope::cli
