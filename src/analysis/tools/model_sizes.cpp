#include "analysis/tools/model_sizes.hpp"

#include <map>

#include "core/block_table.hpp"
#include "core/error.hpp"
#include "gguf/expert_tensor.hpp"
#include "gguf/model_file.hpp"
#include "gguf/moe_shape.hpp"

namespace moescope::analysis {

const expert_sizes::block * expert_sizes::find(const block_layout & l) const {
    const size_t i = find_block(blocks, l, blocks.size());
    return i < blocks.size() ? &blocks[i] : nullptr;
}

uint64_t expert_sizes::of(const block_layout & l) const {
    const block * b = find(l);
    return b == nullptr ? 0 : b->bytes;
}

expert_sizes read_expert_sizes(const std::string & model_path) {
    const gguf::model_file                  model(model_path);
    const gguf::moe_shape                   shape = gguf::read_moe_shape(model.metadata());
    std::map<block_id, expert_sizes::block> blocks;
    for (const gguf::model_file::tensor & t : model.tensors()) {
        const gguf::tensor_name   name   = gguf::parse_tensor_name(t.name);
        const gguf::expert_layout layout = gguf::find_expert_layout(t, name, shape);
        if (layout.part == gguf::expert_part::matrix || layout.part == gguf::expert_part::chunk_matrix) {
            const block_id        id = {name.layer, layout.part == gguf::expert_part::chunk_matrix};
            expert_sizes::block & b  = blocks[id];
            b = {id, b.bytes + t.size / static_cast<uint64_t>(layout.n_slab), static_cast<uint32_t>(layout.n_slab)};
        }
    }
    if (blocks.empty()) {
        throw error("this model has no experts").in(model_path);
    }
    expert_sizes sizes;
    for (const auto & [id, b] : blocks) {
        sizes.blocks.push_back(b);
    }
    return sizes;
}

weight_sizes read_weight_sizes(const std::string & model_path) {
    const gguf::model_file model(model_path);
    const gguf::moe_shape  shape = gguf::read_moe_shape(model.metadata());
    weight_sizes           sizes;
    for (const gguf::model_file::tensor & t : model.tensors()) {
        const gguf::tensor_name   name   = gguf::parse_tensor_name(t.name);
        const gguf::expert_layout layout = gguf::find_expert_layout(t, name, shape);
        const bool                slices = layout.part == gguf::expert_part::matrix ||
                            layout.part == gguf::expert_part::chunk_matrix || layout.part == gguf::expert_part::value;
        weight_size & s = sizes[t.name];
        s.whole         = t.size;
        s.row           = t.ne[1] > 0 ? t.size / static_cast<uint64_t>(t.ne[1] * t.ne[2] * t.ne[3]) : t.size;
        s.n_slice       = slices ? static_cast<uint64_t>(layout.n_slab) : 1;
        s.layer         = name.layer;
    }
    return sizes;
}

}  // namespace moescope::analysis
