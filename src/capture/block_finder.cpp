#include "capture/block_finder.hpp"

#include "capture/self_test.hpp"

namespace moescope::capture {

moe_graph block_finder::find(ggml_cgraph * graph) {
    ggml_tensor ** nodes   = api_.ggml_graph_nodes(graph);
    const int      n_nodes = api_.ggml_graph_n_nodes(graph);
    if (!failure_.empty() || (!nodes_tested_ && refuses(test_nodes(api_, nodes, n_nodes)))) {
        return {};  // before anything follows the nodes' pointers
    }
    nodes_tested_   = true;
    moe_graph found = find_moe(api_, nodes, n_nodes);
    if (found.blocks.empty() || (!blocks_tested_ && refuses(test_blocks(api_, found)))) {
        return {};
    }
    blocks_tested_ = true;
    return found;
}

bool block_finder::refuses(const std::string & wrong) {
    if (!wrong.empty()) {
        failure_ = std::string("this ggml (") + api_.version() + ") lays out its tensors differently: " + wrong;
    }
    return !wrong.empty();
}

}  // namespace moescope::capture
