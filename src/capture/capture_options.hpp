#pragma once

#include "core/capture_list.hpp"
#include "core/layer_filter.hpp"

namespace moescope::capture {

// probes: marks and reads the graph through interposed ggml calls; nearly free.
// callback: ggml's eval callback; splits the graph, but works where calls cannot be interposed. Same results.
enum class method { probes, callback };

struct capture_options {
    capture_list what = column::ids | column::weights;
    layer_filter layers;
    method       way = method::probes;
};

}  // namespace moescope::capture
