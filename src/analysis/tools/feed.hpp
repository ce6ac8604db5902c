#pragma once

#include <initializer_list>

#include "core/routing.hpp"
#include "trace/source.hpp"

namespace moescope::analysis {

// An analysis is a routing_sink with a result(): it takes ubatches in the order in which they ran, in memory that does
// not grow with their number, and can be asked at any time. So it serves a trace, a foreign log and a live capture alike.

// Reads a source from its beginning to its end, once, for all sinks.
inline void feed(trace::trace_source & source, std::initializer_list<routing_sink *> sinks) {
    source.rewind();
    for (routing_sink * sink : sinks) {
        sink->model(source.model());
    }
    for (routed_ubatch u; source.next(u);) {
        for (routing_sink * sink : sinks) {
            sink->ubatch(u);
        }
    }
}

}  // namespace moescope::analysis
