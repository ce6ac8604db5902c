#pragma once

#include <string>

#include "capture/moe_graph.hpp"

namespace moescope::capturing {

// Whether this build's ggml_tensor is the running library's (trap 13): what the library's own functions say of a graph's
// nodes must be what the compiled-in fields say, and the first block must look like one. Returns what is wrong, or "".
std::string test_tensor_layout(const ggml_api & api, ggml_tensor ** nodes, int n_nodes, const moe_graph & g);

// Whether this version of ggml is one that capture was tested with.
bool known_ggml_version(const char * version);

}  // namespace moescope::capturing
