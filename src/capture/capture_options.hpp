#pragma once

#include <cstdint>

#include "core/capture_list.hpp"
#include "core/expert_mask.hpp"
#include "core/layer_filter.hpp"

namespace moescope::capture {

// Nanoseconds, of all threads together.
struct time_spent {
    uint64_t capture_ns = 0;  // in marking, reading and sinks
    uint64_t compute_ns = 0;  // from the beginnings of batches to when their rows were there, capture included
};

// How the values of a graph are had; the results are the same.
// probes: marks and reads the graph through interposed ggml calls; nearly free.
// eval_callback: through ggml's eval callback; splits the graph, but works where calls cannot be interposed.
enum class mechanism { probes, eval_callback };

struct capture_options {
    capture_list what = column::ids | column::weights;
    layer_filter layers;
    mechanism    by   = mechanism::probes;
    expert_mask  mask = {};  // of every context that is given none of its own (session::set_mask)
};

}  // namespace moescope::capture
