#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "gguf/model_file.hpp"
#include "prune/plan.hpp"

namespace moescope::reorder {

using expert_orders = std::map<int, std::vector<int32_t>>;  // il -> old ids by new place

// A model with its experts in another order. The tensors are those that prune knows, all experts stay: layers[il].kept holds
// the order.
struct reorder_plan {
    prune::prune_plan        pruning;
    std::vector<std::string> warnings;  // sentences for the user
};

// Layers without an order keep theirs. Throws error where the model has experts that cannot be moved (what prune cannot
// slice), and where an order is none, or moves an expert to a place that would make another model.
reorder_plan plan_reorder(const gguf::model_file & model, const expert_orders & orders);

// What undoes the orders that a file was written with. Throws error where it says nothing of such orders, or was pruned
// since.
reorder_plan plan_inverse(const gguf::model_file & model);

// The key of a layer's order in the metadata: place = new id, value = id in the model that was never reordered.
std::string order_key(int layer);

inline const std::string provenance_prefix = "moescope.reorder.";

}  // namespace moescope::reorder
