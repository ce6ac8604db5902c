#include "prune/writer.hpp"

#include <memory>

#include <fmt/format.h>

#include "core/error.hpp"
#include "core/hash_table.hpp"
#include "gguf/kept_experts.hpp"
#include "gguf/tensor_name.hpp"
#include "io/path.hpp"

namespace moescope::prune {

namespace {

const std::string provenance_prefix = "moescope.prune.";

bool starts_with(const std::string & text, const std::string & prefix) {
    return text.compare(0, prefix.size(), prefix) == 0;
}

std::string kept_key(int layer) {
    return provenance_prefix + "kept." + std::to_string(layer);
}

// Old ids in terms of the model that was never pruned, where this one was pruned before.
std::vector<int32_t> original_ids(const gguf::model_metadata & metadata, const layer_plan & layer) {
    const std::vector<uint64_t> before = metadata.get_uints(kept_key(layer.layer));
    std::vector<int32_t>        ids;
    for (const int32_t id : layer.kept) {
        ids.push_back(static_cast<size_t>(id) < before.size() ? static_cast<int32_t>(before[static_cast<size_t>(id)])
                                                              : id);
    }
    return ids;
}

void add_provenance(gguf::header_writer & out, const gguf::model_file & model, const prune_plan & plan,
                    const prune_provenance & p) {
    const auto        key     = [](const char * name) { return provenance_prefix + name; };
    const auto        pruned  = model.metadata().get_uint(key("expert_count"));
    auto              history = model.metadata().get_strings(key("history"));
    const std::string by      = p.statistics.empty() ? "" : " by " + io::base_name(p.statistics);
    history.push_back(fmt::format("{}: {} to {} experts, {}{}", io::base_name(model.path()), plan.shape.n_expert,
                                  plan.n_keep, p.criterion, by));
    out.add(key("version"), uint32_t(1));
    out.add(key("criterion"), p.criterion);
    out.add(key("source"), io::base_name(model.path()));
    if (!p.statistics.empty()) {
        out.add(key("statistics"), io::base_name(p.statistics));
    }
    if (p.criterion == criterion_name(prune_criterion::random)) {
        out.add(key("seed"), p.seed);
    }
    out.add(key("expert_count"), static_cast<uint32_t>(pruned.value_or(plan.shape.n_expert)));
    gguf::kept_experts kept;
    for (const auto & [il, layer] : plan.layers) {
        const std::vector<int32_t> ids = original_ids(model.metadata(), layer);
        out.add(kept_key(il), ids);
        kept.of_layer[il] = {ids.begin(), ids.end()};
    }
    out.add(gguf::kept_experts_key, gguf::to_text(kept));
    out.add(key("history"), history);
    out.add(key("imatrix"), std::string("an importance matrix made before pruning does not fit this file; "
                                        "moescope prune --imatrix slices one along"));
}

// Everything of the source but what pruning changes, then the provenance.
gguf::header_writer pruned_metadata(const gguf::model_file & model, const prune_plan & plan,
                                    const prune_provenance & provenance) {
    gguf::header_writer            out;
    const gguf::model_file::part & first     = model.parts().front();
    const std::string              count_key = plan.shape.arch + ".expert_count";
    for (const gguf::metadata_entry & entry : first.header.metadata) {
        if (entry.key == count_key) {
            out.copy_with_value(first.file, entry, plan.n_keep);
        } else if (!starts_with(entry.key, "split.") && !starts_with(entry.key, provenance_prefix)) {
            out.copy(first.file, entry);
        }
    }
    add_provenance(out, model, plan, provenance);
    return out;
}

std::vector<int32_t> kept_chunks(const std::vector<int32_t> & kept, uint32_t size) {
    std::vector<int32_t> chunks;
    for (size_t i = 0; i < kept.size(); i += size) {
        chunks.push_back(kept[i] / static_cast<int32_t>(size));
    }
    return chunks;
}

tensor_slice slice_of(const gguf::model_file & model, const prune_plan & plan, const tensor_plan & tp,
                      std::vector<std::shared_ptr<hash_table_remap>> & remaps) {
    tensor_slice slice;
    slice.tensor = tp.tensor;
    if (tp.layout.part == gguf::expert_part::none) {
        return slice;
    }
    const std::vector<int32_t> & kept = plan.layers.at(tp.layer).kept;
    if (tp.layout.part == gguf::expert_part::hash_table) {
        const auto & t = model.tensors()[tp.tensor];
        auto remap     = std::make_shared<hash_table_remap>(kept, plan.shape.n_expert, static_cast<uint32_t>(t.ne[0]));
        remaps.push_back(remap);
        slice.row_size = static_cast<uint64_t>(t.ne[0]) * sizeof(int32_t);
        slice.edit     = [remap](char * rows, uint64_t n_rows, uint64_t) {
            remap->apply(reinterpret_cast<int32_t *>(rows), n_rows);
        };
        return slice;
    }
    slice.whole = false;
    slice.axis  = tp.layout.axis;
    slice.kept =
        tp.layout.part == gguf::expert_part::chunk_matrix ? kept_chunks(kept, plan.shape.experts_per_chunk) : kept;
    return slice;
}

std::vector<tensor_slice> slices_of(const gguf::model_file & model, const prune_plan & plan,
                                    std::vector<std::shared_ptr<hash_table_remap>> & remaps) {
    std::vector<tensor_slice> slices;
    for (const tensor_plan & tp : plan.tensors) {
        slices.push_back(slice_of(model, plan, tp, remaps));
    }
    return slices;
}

}  // namespace

uint64_t pruned_size(const gguf::model_file & model, const prune_plan & plan, const prune_provenance & provenance) {
    std::vector<std::shared_ptr<hash_table_remap>> remaps;
    const std::vector<tensor_slice>                slices = slices_of(model, plan, remaps);
    return sliced_size(model, pruned_metadata(model, plan, provenance), slices);
}

prune_result write_pruned(const gguf::model_file & model, const prune_plan & plan, const prune_provenance & provenance,
                          const std::string & path, const copy_progress & progress) {
    std::vector<std::shared_ptr<hash_table_remap>> remaps;
    const std::vector<tensor_slice>                slices = slices_of(model, plan, remaps);
    prune_result                                   result;
    result.file_size = write_sliced(model, pruned_metadata(model, plan, provenance), slices, path, progress);
    for (const auto & remap : remaps) {
        result.hash_ids_replaced += remap->n_replaced();
    }
    return result;
}

uint64_t write_pruned_imatrix(const gguf::model_file & imatrix, const prune_plan & plan, const std::string & path) {
    if (imatrix.metadata().get_string("general.type") != "imatrix") {
        throw error("a GGUF file, but not an imatrix").in(imatrix.path());
    }
    gguf::header_writer            metadata;
    const gguf::model_file::part & first = imatrix.parts().front();
    for (const gguf::metadata_entry & entry : first.header.metadata) {
        metadata.copy(first.file, entry);
    }
    std::vector<tensor_slice> slices;
    for (size_t i = 0; i < imatrix.tensors().size(); ++i) {
        const auto & t = imatrix.tensors()[i];
        tensor_slice slice;
        slice.tensor = i;
        const gguf::tensor_name name =
            gguf::parse_tensor_name(t.name.substr(0, t.name.rfind('.')));  // without .in_sum2, .counts
        const bool is_chunk = name.base.find("_chexps") != std::string::npos;
        const auto layer    = plan.layers.find(name.layer);
        if (layer != plan.layers.end() && (is_chunk || name.base.find("_exps") != std::string::npos) && t.ne[1] > 1) {
            const uint32_t size = is_chunk ? plan.shape.experts_per_chunk : 1;
            if (size == 0 || t.ne[1] * size != plan.shape.n_expert) {
                throw error(
                    fmt::format("'{}' is for {} experts, the model has {}", t.name, t.ne[1], plan.shape.n_expert))
                    .in(imatrix.path());
            }
            slice.whole = false;
            slice.axis  = 1;
            slice.kept  = kept_chunks(layer->second.kept, size);
        }
        slices.push_back(slice);
    }
    return write_sliced(imatrix, metadata, slices, path);
}

}  // namespace moescope::prune
