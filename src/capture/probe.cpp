#include "capture/probe.hpp"

namespace moescope::capture {

void probe::plan(ggml_cgraph * graph) {
    reading_.clear();
    pending_ = false;
    plan_.prepare(graph, mtp_);
}

void probe::read_inputs() {
    if (host_ != nullptr) {
        host_->begin_graph();
    }
    if (!reading_.empty()) {
        reading_.read_inputs();
    }
}

void probe::computed(bool success) {
    pending_ = success && !stopped_by_host() && !reading_.empty();
}

ubatch_buffer & probe::collect() {
    pending_ = false;
    return reading_.collect();
}

}  // namespace moescope::capture
