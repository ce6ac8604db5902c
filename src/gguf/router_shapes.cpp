#include "gguf/router_shapes.hpp"

#include <algorithm>

#include "gguf/expert_tensor.hpp"
#include "gguf/moe_shape.hpp"

namespace moescope::gguf {

std::vector<router_shape> router_shapes(const model_file & model) {
    const moe_shape           shape = read_moe_shape(model.metadata());
    std::vector<router_shape> routers;
    for (const model_file::tensor & t : model.tensors()) {
        const tensor_name   name   = parse_tensor_name(t.name);
        const expert_layout layout = find_expert_layout(t, name, shape);
        if (layout.part == expert_part::router) {
            router_shape r = {name.layer, static_cast<uint32_t>(layout.n_slab), shape.n_expert_used_at(name.layer)};
            r.n_group      = std::max(1U, shape.n_expert_groups);
            r.n_group_used = std::max(1U, shape.n_group_used);
            routers.push_back(r);
        }
    }
    std::sort(routers.begin(), routers.end(),
              [](const router_shape & a, const router_shape & b) { return a.layer < b.layer; });
    return routers;
}

}  // namespace moescope::gguf
