#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "trace/chunks.hpp"

namespace moescope::trace {

// How far a trace has been read, for the part behind.
struct read_so_far {
    std::string path;         // of the first part that is read
    uint64_t    trace_id;     // in the heads of all its parts
    uint32_t    part_number;  // of the last part, as its head says
    uint32_t    n_parts;      // that were read
    std::string next;         // the name that the last part's end gives to the one behind; empty: it has no such end
};

struct next_part {
    std::optional<chunk_list> chunks;       // none if there is no such part, or it cannot be joined
    std::string               unread_part;  // in which the trace goes on although it cannot be joined
};

// The part that follows the last one. A part that does not name the next one has lost its end: reading on after it
// would leave a hole in the middle.
next_part open_next_part(const read_so_far & trace);

}  // namespace moescope::trace
