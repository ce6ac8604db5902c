#include "analysis/model_sizes.hpp"

#include <map>

#include "analysis/access.hpp"
#include "core/error.hpp"
#include "gguf/expert_tensor.hpp"
#include "gguf/model_file.hpp"
#include "gguf/moe_shape.hpp"

namespace moescope::analysis {

expert_sizes read_expert_sizes(const std::string & model_path) {
    const model_file                               model(model_path);
    const moe_shape                                shape = read_moe_shape(model.metadata());
    std::map<std::pair<int32_t, int32_t>, uint64_t> bytes;
    for (const model_file::tensor & t : model.tensors()) {
        const tensor_name   name   = parse_tensor_name(t.name);
        const expert_layout layout = find_expert_layout(t, name, shape);
        if (layout.part == expert_part::matrix || layout.part == expert_part::chunk_matrix) {
            bytes[{name.layer, layout.part == expert_part::chunk_matrix}] += t.size / static_cast<uint64_t>(layout.n_slab);
        }
    }
    if (bytes.empty()) {
        throw error("this model has no experts").in(model_path);
    }
    expert_sizes sizes;
    for (const auto & [key, n] : bytes) {
        sizes.blocks.push_back({key.first, key.second, n});
    }
    return sizes;
}

weight_sizes read_weight_sizes(const std::string & model_path) {
    const model_file model(model_path);
    const moe_shape  shape = read_moe_shape(model.metadata());
    weight_sizes     sizes;
    for (const model_file::tensor & t : model.tensors()) {
        const tensor_name   name   = parse_tensor_name(t.name);
        const expert_layout layout = find_expert_layout(t, name, shape);
        const bool          slices = layout.part == expert_part::matrix || layout.part == expert_part::chunk_matrix ||
                            layout.part == expert_part::value;
        weight_size & s = sizes[t.name];
        s.whole   = t.size;
        s.row     = t.ne[1] > 0 ? t.size / static_cast<uint64_t>(t.ne[1] * t.ne[2] * t.ne[3]) : t.size;
        s.n_slice = slices ? static_cast<uint64_t>(layout.n_slab) : 1;
        s.layer   = name.layer;
    }
    return sizes;
}

}  // namespace moescope::analysis
