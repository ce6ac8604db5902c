#pragma once

#include <cstdint>
#include <string>

#include "capture/capture_options.hpp"

namespace moescope::recorder {

// What the environment asks for. Read once, at the program's first use of ggml.
struct settings {
    capture::capture_options capture;
    std::string              trace_path;  // "": none
    std::string              csv_path;
    std::string              stats_path;  // JSON
    bool                     stats       = false;
    bool                     names       = false;
    bool                     per_layer   = false;
    bool                     no_text     = false;  // in the trace
    bool                     no_tokens   = false;
    bool                     counts_only = false;
    bool                     f16         = false;
    uint64_t                 max_size    = 0;
    std::string              status_path;

    bool records() const { return !trace_path.empty() || !csv_path.empty() || stats || names; }
    bool on() const { return records() || !capture.mask.empty(); }
};

// Throws usage_error naming a variable whose value makes no sense.
settings read_settings();

// "a/run.json", 3 -> "a/run.3.json"; the first stream has the plain name.
std::string numbered(const std::string & path, uint32_t stream);

}  // namespace moescope::recorder
