#pragma once

#include <memory>
#include <string>
#include <vector>

#include "capture/graph_edit.hpp"
#include "capture/moe_graph.hpp"
#include "capture/own_weight.hpp"
#include "capture/scheduler_backends.hpp"

namespace moescope::capture {

// A model that is loaded with one expert more than it uses (expert_used_count + 1) selects the runner-up behind the others.
// This takes the runner-up's gate out again before gates are normalised, so that the model computes what it would without:
// the gate is multiplied by 0 or, before a softmax over the selected, -inf is added to it. What is left of the runner-up is
// its output, beside those of the others.
class extra_gates {
public:
    extra_gates(const ggml_api & api, const scheduler_backends & backends) : api_(api), backends_(backends) {}

    // In every block of the graph; nodes are made in `memory`. Where a block's final weights are what is replaced, it gets
    // the new ones. Returns why it cannot be done, or "".
    std::string take_out(moe_graph & g, ggml_tensor ** nodes, int n_nodes, ggml_context * memory, graph_edit & edit);

private:
    // What is multiplied with the gates, or added to them: [1, k + 1], all but the last do nothing.
    struct neutral {
        ggml_backend_t              backend;
        int64_t                     n;
        bool                        added;
        std::unique_ptr<own_weight> weight;
    };
    ggml_tensor * leaf_for(const moe_block & b);

    const ggml_api &           api_;
    const scheduler_backends & backends_;
    std::vector<neutral>       leaves_;
};

}  // namespace moescope::capture
