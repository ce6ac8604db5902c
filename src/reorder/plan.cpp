#include "reorder/plan.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.hpp"
#include "reorder/expert_order.hpp"

namespace moescope::reorder {

namespace {

// All experts of all layers stay where they are.
prune::prune_plan plan_nothing(const gguf::model_file & model) {
    prune::prune_request request;
    request.criterion = prune::prune_criterion::random;
    request.n_keep    = gguf::read_moe_shape(model.metadata()).n_expert;
    return prune::plan_prune(model, request);
}

void require_order(const std::vector<int32_t> & order, const std::vector<uint32_t> & cells, int layer) {
    std::vector<bool> seen(cells.size());
    bool              whole = order.size() == cells.size();
    for (const int32_t id : order) {
        whole = whole && id >= 0 && static_cast<size_t>(id) < cells.size() && !seen[static_cast<size_t>(id)];
        if (!whole) {
            break;
        }
        seen[static_cast<size_t>(id)] = true;
    }
    if (!whole) {
        throw error(fmt::format("layer {}: an order must name each of the {} experts once", layer, cells.size()));
    }
    for (size_t place = 0; place < cells.size(); ++place) {
        if (cells[place] != cells[static_cast<size_t>(order[place])]) {
            throw error(fmt::format("layer {}: expert {} cannot move to place {}: the router would select otherwise",
                                    layer, order[place], place));
        }
    }
}

void add_warnings(const gguf::model_file & model, reorder_plan & plan) {
    if (model.parts().size() > 1) {
        plan.warnings.push_back("the model is split over several files; the result is one");
    }
    if (plan.pruning.shape.experts_per_chunk > 1) {
        plan.warnings.push_back("experts stay in their chunks, so little can be moved");
    }
}

}  // namespace

std::string order_key(int layer) {
    return provenance_prefix + "order." + std::to_string(layer);
}

reorder_plan plan_reorder(const gguf::model_file & model, const expert_orders & orders) {
    reorder_plan plan;
    plan.pruning                      = plan_nothing(model);
    const std::vector<uint32_t> cells = interchangeable_places(plan.pruning.shape);
    for (const auto & [il, order] : orders) {
        const auto it = plan.pruning.layers.find(il);
        if (it == plan.pruning.layers.end()) {
            throw error(fmt::format("layer {} has no experts to reorder", il)).in(model.path());
        }
        require_order(order, cells, il);
        it->second.kept = order;
    }
    add_warnings(model, plan);
    return plan;
}

reorder_plan plan_inverse(const gguf::model_file & model) {
    if (!model.metadata().get_uint(provenance_prefix + "version")) {
        throw error("this model was never reordered").in(model.path());
    }
    reorder_plan plan;
    plan.pruning          = plan_nothing(model);
    const size_t n_expert = plan.pruning.shape.n_expert;
    for (auto & [il, layer] : plan.pruning.layers) {
        const std::vector<uint64_t> order = model.metadata().get_uints(order_key(il));
        if (order.size() != n_expert) {
            throw error(
                fmt::format("layer {} has {} experts, but the order in the file is of {}", il, n_expert, order.size()))
                .in(model.path())
                .fix("a model that was pruned after it was reordered cannot go back");
        }
        std::vector<int32_t> back(n_expert, -1);
        for (size_t place = 0; place < n_expert; ++place) {
            if (order[place] < n_expert) {
                back[order[place]] = static_cast<int32_t>(place);
            }
        }
        require_order(back, interchangeable_places(plan.pruning.shape), il);
        layer.kept = back;
    }
    return plan;
}

}  // namespace moescope::reorder
