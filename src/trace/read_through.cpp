#include "trace/read_through.hpp"

namespace moescope::trace {

bool read_through(trace_source & source, const std::vector<routing_sink *> & sinks, const read_progress & progress) {
    source.rewind();
    for (routing_sink * sink : sinks) {
        sink->model(source.model());
    }
    amount_read read;
    for (routed_ubatch u; source.next(u);) {
        for (routing_sink * sink : sinks) {
            sink->ubatch(u);
        }
        read.tokens += u.n_tokens();
        read.ubatches += 1;
        if (progress && !progress(read)) {
            return false;
        }
    }
    return true;
}

}  // namespace moescope::trace
