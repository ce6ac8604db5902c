#pragma once

// Whether a trace's files are what was written: every chunk's checksum, where the first damage is, how much lies behind it.

#include <cstdint>
#include <string>
#include <vector>

#include "trace/chunks.hpp"

namespace moescope::check {

struct part_integrity {
    std::string   path;
    uint64_t      bytes       = 0;
    uint64_t      whole_bytes = 0;  // from the start; a file of just these reads without an error
    size_t        n_chunks    = 0;  // whole and with the right checksum, in whole_bytes
    uint64_t      ubatches    = 0;  // in them
    uint64_t      tokens      = 0;
    trace::damage state;  // damage::kind::none, or what ends whole_bytes

    int stopped = 0;  // errno that ended the writing of this file; 0: it ended otherwise, or goes on

    // What the part's end says it holds; has_end is false for a trace that was killed or still runs.
    bool     has_end      = false;
    bool     goes_on      = false;  // in a following part
    uint64_t end_ubatches = 0;      // of all parts
    uint64_t end_tokens   = 0;
};

// Reads one file of a trace through. Throws error only where it is not a trace at all.
part_integrity check_part(const std::string & path);

}  // namespace moescope::check
