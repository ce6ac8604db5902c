#pragma once

// Which weights a graph reads, node by node: the access trace.

#include "capture/ggml_api.hpp"
#include "capture/moe_graph.hpp"
#include "core/routing.hpp"

namespace moescope::capture {

// The weights that one node reads when it is computed, its block left open; no sources where it reads none.
access_entry weight_read(const ggml_api & api, const ggml_tensor * t);

// The nodes that read weights, in order; `block` refers to g.blocks.
access_list find_weight_reads(const ggml_api & api, ggml_tensor ** nodes, int n_nodes, const moe_graph & g);

}  // namespace moescope::capture
