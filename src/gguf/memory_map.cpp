#include "gguf/memory_map.hpp"

#include <algorithm>
#include <unordered_map>

#include "gguf/component.hpp"

namespace moescope::gguf {

namespace {

bool is_matrix(const expert_layout & layout) {
    return layout.part == expert_part::matrix || layout.part == expert_part::chunk_matrix;
}

map_entry whole_entry(const model_file::tensor & t, size_t index, const tensor_name & name) {
    map_entry e;
    e.name      = t.name;
    e.tensor    = index;
    e.offset    = t.offset;
    e.size      = t.size;
    e.layer     = name.layer;
    e.component = component_type(name);
    e.n_dims    = t.n_dims;
    std::copy_n(t.ne.begin(), t.n_dims, e.dims.begin());
    return e;
}

void add_slices(std::vector<map_entry> & entries, const map_entry & whole, const tensor_name & name, int64_t n_slab) {
    const uint64_t size  = whole.size / static_cast<uint64_t>(n_slab);
    const auto     group = component_group(name, true);
    for (int id = 0; id < n_slab; ++id) {
        map_entry e = whole;
        e.name += '[' + std::to_string(id) + ']';
        e.expert_id = id;
        e.offset += static_cast<uint64_t>(id) * size;
        e.size      = size;
        e.component = group + ' ' + std::to_string(id);
        e.n_dims    = 2;
        e.dims      = {whole.dims[0], whole.dims[1], 0, 0};
        entries.push_back(std::move(e));
    }
}

// Tables of which a token reads one row.
bool is_lookup_table(const tensor_name & name, bool tied_output) {
    return (name.base == "token_embd" && !tied_output) || name.base == "position_embd" || name.base == "token_types" ||
           name.base == "per_layer_token_embd" || name.base == "ffn_gate_tid2eid";
}

uint64_t bytes_read_per_token(const tensor_info & t, const tensor_name & name, const expert_layout & layout,
                              const moe_shape & shape, bool tied_output) {
    if (shape.is_mtp(name.layer)) {
        return 0;  // drafts are not part of decoding a token
    }
    if (is_lookup_table(name, tied_output) && name.suffix == "weight") {
        return t.ne[1] > 0 ? t.size / static_cast<uint64_t>(t.ne[1]) : 0;
    }
    if (is_matrix(layout) || (layout.part == expert_part::value && name.base.find("_exps") != std::string::npos)) {
        const uint64_t n_slab = static_cast<uint64_t>(layout.n_slab);
        return t.size / n_slab * std::min<uint64_t>(shape.n_expert_used_at(name.layer), n_slab);
    }
    return t.size;
}

}  // namespace

memory_map build_memory_map(const model_file & model, bool split_experts) {
    memory_map map;
    map.shape              = read_moe_shape(model.metadata());
    const bool tied_output = model.find("output.weight") == nullptr;

    std::unordered_map<std::string, size_t> component_index;
    for (size_t i = 0; i < model.tensors().size(); ++i) {
        const model_file::tensor & t      = model.tensors()[i];
        const tensor_name          name   = parse_tensor_name(t.name);
        const expert_layout        layout = find_expert_layout(t, name, map.shape);
        const map_entry            whole  = whole_entry(t, i, name);
        if (split_experts && is_matrix(layout)) {
            add_slices(map.entries, whole, name, layout.n_slab);
        } else {
            map.entries.push_back(whole);
        }
        map_totals & totals = map.totals;
        totals.n_tensors += 1;
        totals.n_experts += is_matrix(layout) ? static_cast<uint64_t>(layout.n_slab) : 0;
        totals.bytes += t.size;
        totals.bytes_experts += is_matrix(layout) ? t.size : 0;
        totals.bytes_per_token += bytes_read_per_token(t, name, layout, map.shape, tied_output);
        totals.by_layer[name.layer] += t.size;
        const std::string group = component_group(name, is_matrix(layout));
        const auto [it, is_new] = component_index.emplace(group, totals.by_component.size());
        if (is_new) {
            totals.by_component.emplace_back(group, 0);
        }
        totals.by_component[it->second].second += t.size;
    }
    if (map.shape.n_expert > 1 && map.shape.n_expert_used_max() == 0) {
        map.totals.bytes_per_token = 0;
    }
    return map;
}

}  // namespace moescope::gguf
