#pragma once

#include <string>

#include "capture/moe_graph.hpp"

namespace moescope::capture {

// Whether this build's ggml_tensor is the running library's (docs/capture.md, trap 13). Both return what is wrong, or "".

// What the library's own functions say of a graph's nodes must be what the compiled-in fields say. Follows no pointer that
// lies in a node, so that it may come before all else.
std::string test_nodes(const ggml_api & api, ggml_tensor ** nodes, int n_nodes);

// The blocks must look like blocks: types, strides, and shapes that fit together.
std::string test_blocks(const ggml_api & api, const moe_graph & g);

// Whether this version of ggml is one that capture was tested with.
bool known_ggml_version(const char * version);

}  // namespace moescope::capture
