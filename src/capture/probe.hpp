#pragma once

#include <string>

#include "capture/graph_plan.hpp"
#include "capture/graph_reading.hpp"
#include "capture/host_callback.hpp"

namespace moescope::capture {

// Watches one scheduler. The hooks call it around the scheduler's own functions:
//
//     reserve:  plan(graph)                        the memory plan must know what shall survive
//     alloc:    plan(graph), real, bind()          where the values will lie
//     compute:  read_inputs(), real, computed()    inputs are overwritten before any later hook
//     then:     collect()                          at once on the CPU, else after the next synchronize
class probe {
public:
    probe(const ggml_api & api, ggml_backend_sched_t sched, capture_options options)
        : api_(api),
          plan_(api, sched, std::move(options)) {}

    // Of the model that computes here, as soon as it is known.
    void set_mtp_layers(mtp_layers mtp) { mtp_ = mtp; }

    void plan(ggml_cgraph * graph);
    void bind() { reading_.bind(api_, plan_.planned()); }
    void read_inputs();
    void computed(bool success);

    bool has_moe() const { return !reading_.empty(); }
    bool left_all_out() const { return plan_.left_all_out(); }
    bool pending() const { return pending_; }
    // Whether values can be read as soon as compute returns; otherwise the scheduler must be synchronized first.
    bool synchronous() const { return plan_.cpu_only(); }
    // Reads what was computed; only when pending(). Valid until the next collect().
    ubatch_buffer & collect();
    // Forgets what is pending: its compute failed, or its memory is gone.
    void drop() { pending_ = false; }

    // The program's own eval callback, or null; a graph that it stops counts as not computed. Not owned.
    void set_host(host_callback * h) { host_ = h; }
    bool stopped_by_host() const { return host_ != nullptr && host_->stopped(); }

    // Of the graph that is bound.
    const access_list & weight_reads() const { return reading_.weight_reads(); }
    const void *        weight_address() const { return reading_.weight_address(); }
    // Why nothing can be recorded here, or "".
    const std::string & failure() const { return plan_.failure(); }

private:
    const ggml_api & api_;
    graph_plan       plan_;
    graph_reading    reading_;
    mtp_layers       mtp_;
    host_callback *  host_    = nullptr;
    bool             pending_ = false;
};

}  // namespace moescope::capture
