#include "gguf/first_ids.hpp"

#include "core/error.hpp"
#include "gguf/kept_experts.hpp"
#include "gguf/model_file.hpp"
#include "gguf/moe_shape.hpp"

namespace moescope::gguf {

namespace {

// [id] = order[kept[id]]
std::vector<uint32_t> looked_up(const std::vector<uint32_t> & kept, const std::vector<uint32_t> & order,
                                const std::string & path) {
    std::vector<uint32_t> ids;
    for (const uint32_t id : kept) {
        if (id >= order.size()) {
            throw error("names expert " + std::to_string(id) + " of " + std::to_string(order.size())).in(path);
        }
        ids.push_back(order[id]);
    }
    return ids;
}

}  // namespace

first_ids read_first_ids(const std::string & path) {
    const model_file   model(path);
    const moe_shape    shape = read_moe_shape(model.metadata());
    const kept_experts kept  = read_kept_experts(model.metadata(), shape.n_layer, path);
    first_ids          first{kept.n_expert, kept.of_layer};
    for (uint32_t il = 0; il < shape.n_layer; ++il) {
        const auto                  wide = model.metadata().get_uints("moescope.reorder.order." + std::to_string(il));
        const std::vector<uint32_t> order(wide.begin(), wide.end());
        const auto                  pruned = first.of_layer.find(static_cast<int32_t>(il));
        if (order.empty() || (pruned != first.of_layer.end() && pruned->second.size() == order.size())) {
            continue;  // reordered after it was pruned: the list of kept experts is in the new order
        }
        first.n_expert = static_cast<uint32_t>(order.size());
        if (pruned == first.of_layer.end()) {
            first.of_layer[static_cast<int32_t>(il)] = order;
        } else {
            pruned->second = looked_up(pruned->second, order, path);
        }
    }
    return first;
}

}  // namespace moescope::gguf
