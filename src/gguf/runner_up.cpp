#include "gguf/runner_up.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "gguf/expert_tensor.hpp"
#include "gguf/moe_shape.hpp"

namespace moescope::gguf {

std::string runner_up_obstacle(const model_file & model) {
    const moe_shape shape = read_moe_shape(model.metadata());
    const uint32_t  k     = shape.n_expert_used_max();
    if (model.metadata().get_uints(shape.arch + ".expert_used_count").size() != 1) {
        return "the number of experts that a token uses differs by layer";
    }
    if (k + 1 > shape.n_expert / std::max(1u, shape.experts_per_chunk)) {
        return fmt::format("a token uses all {} experts", k);
    }
    const uint32_t groups = shape.n_expert_groups;
    if (groups > 1 && k + 1 > shape.n_group_used * (shape.n_expert / groups)) {
        return fmt::format("a token uses all experts of the {} groups that its router chooses", shape.n_group_used);
    }
    const auto & tensors = model.tensors();
    if (std::any_of(tensors.begin(), tensors.end(),
                    [](const auto & t) { return parse_tensor_name(t.name).base == "ffn_gate_tid2eid"; })) {
        return "it has layers that select experts by token id";
    }
    return shape.arch == "llama4" ? "the model multiplies the experts' input by the gate" : "";
}

}  // namespace moescope::gguf
