#pragma once

#include <string>

#include "capture/moe_graph.hpp"

namespace moescope::capture {

// Finds the MoE blocks of one scheduler's graphs, once the self-test has passed on the first (docs/capture.md, trap 13).
class block_finder {
public:
    explicit block_finder(const ggml_api & api) : api_(api) {}

    // No blocks where the graph has none, or is not understood.
    moe_graph find(ggml_cgraph * graph);

    // What the self-test found wrong, or "".
    const std::string & failure() const { return failure_; }

private:
    bool refuses(const std::string & wrong);

    const ggml_api & api_;
    bool             nodes_tested_ = false, blocks_tested_ = false;  // once: it holds for all graphs
    std::string      failure_;
};

}  // namespace moescope::capture
