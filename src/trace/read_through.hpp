#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "trace/source.hpp"

namespace moescope::trace {

// How far reading is.
struct amount_read {
    uint64_t tokens = 0, ubatches = 0;
};

// Asked after each ubatch; false: stop.
using read_progress = std::function<bool(const amount_read &)>;

// Reads a source from its beginning to its end, once, for all sinks: first its model, then every ubatch. Returns false if
// `progress` stopped it. Throws error if the file is damaged; the sinks have what came before.
bool read_through(trace_source & source, const std::vector<routing_sink *> & sinks,
                  const read_progress & progress = {});

}  // namespace moescope::trace
