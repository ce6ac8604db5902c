#include "capture/extra_gate.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace moescope::capture {

namespace {

// Whether every product with expert weights belongs to a block whose gates are known: of the others the runner-up would
// stay in.
bool knows_all_experts(const ggml_api & api, const moe_graph & g, ggml_tensor ** nodes, int n_nodes) {
    return std::all_of(nodes, nodes + n_nodes, [&](const ggml_tensor * t) {
        return !api.is(t, GGML_OP_MUL_MAT_ID) || !is_expert_weight(t->src[0]) ||
               std::any_of(g.blocks.begin(), g.blocks.end(),
                           [&](const moe_block & b) { return b.ids == t->src[2] && b.raw_node >= 0; });
    });
}

}  // namespace

std::string extra_gates::take_out(moe_graph & g, ggml_tensor ** nodes, int n_nodes, ggml_context * memory,
                                  graph_edit & edit) {
    if (!knows_all_experts(api_, g, nodes, n_nodes)) {
        return "the graph has experts whose gates moescope does not find";
    }
    for (moe_block & b : g.blocks) {
        ggml_tensor * const leaf = leaf_for(b);
        if (leaf == nullptr) {
            return "no memory to take out the gate of the runner-up";
        }
        ggml_tensor * const without =
            b.own_softmax ? api_.ggml_add(memory, b.weights_raw, leaf) : api_.ggml_mul(memory, b.weights_raw, leaf);
        char name[GGML_MAX_NAME];
        std::snprintf(name, sizeof(name), "moescope.gates.%d.%d", b.layer, b.block);
        api_.ggml_set_name(without, name);
        edit.replace(b.weights_raw, b.raw_node, without);
        if (b.weights == b.weights_raw) {
            b.weights      = without;
            b.weights_node = b.raw_node;
        }
    }
    return {};
}

ggml_tensor * extra_gates::leaf_for(const moe_block & b) {
    ggml_backend_t backend = b.router != nullptr ? backends_.holding(b.router) : nullptr;
    backend                = backend != nullptr ? backend : backends_.cpu();
    const int64_t n        = b.ids->ne[0];
    for (const neutral & l : leaves_) {
        if (l.backend == backend && l.n == n && l.added == b.own_softmax) {
            return l.weight->tensor();
        }
    }
    if (backend == nullptr) {
        return nullptr;
    }
    auto weight = std::make_unique<own_weight>(api_, backend, GGML_TYPE_F32, 1, n, "moescope.gates");
    if (!*weight) {
        return nullptr;
    }
    std::vector<float> values(static_cast<size_t>(n), b.own_softmax ? 0.0F : 1.0F);
    values.back() = b.own_softmax ? -INFINITY : 0.0F;
    weight->set(values.data());
    leaves_.push_back({backend, n, b.own_softmax, std::move(weight)});
    return leaves_.back().weight->tensor();
}

}  // namespace moescope::capture
