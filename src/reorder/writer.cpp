#include "reorder/writer.hpp"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "core/error.hpp"
#include "core/hash_table.hpp"
#include "gguf/fingerprint.hpp"
#include "gguf/kept_experts.hpp"
#include "io/input_file.hpp"
#include "io/output_file.hpp"
#include "io/path.hpp"

namespace moescope::reorder {

namespace {

const std::string kept_prefix = "moescope.prune.kept.";  // a pruned model's lists have an entry for each expert

bool starts_with(const std::string & text, const std::string & prefix) {
    return text.compare(0, prefix.size(), prefix) == 0;
}

template <class T>
std::vector<T> in_order(const std::vector<T> & values, const std::vector<int32_t> & order) {
    std::vector<T> moved;
    for (const int32_t id : order) {
        moved.push_back(values.at(static_cast<size_t>(id)));
    }
    return moved;
}

// In terms of the model that was never reordered.
std::vector<int32_t> original_order(const gguf::model_metadata & metadata, const prune::layer_plan & layer) {
    const std::vector<uint64_t> before = metadata.get_uints(order_key(layer.layer));
    std::vector<int32_t>        ids;
    for (const int32_t id : layer.kept) {
        ids.push_back(before.size() == layer.kept.size() ? static_cast<int32_t>(before[static_cast<size_t>(id)]) : id);
    }
    return ids;
}

// The list of a pruned model that follows its experts; null where the key is none, or of a layer without experts.
const prune::layer_plan * layer_of_kept_list(const std::string & key, const reorder_plan & plan) {
    if (!starts_with(key, kept_prefix)) {
        return nullptr;
    }
    for (const auto & [il, layer] : plan.pruning.layers) {
        if (key == kept_prefix + std::to_string(il)) {
            return &layer;
        }
    }
    return nullptr;
}

void add_provenance(gguf::header_writer & out, const gguf::model_file & model, const reorder_plan & plan,
                    const reorder_provenance & p) {
    auto history = model.metadata().get_strings(provenance_prefix + "history");
    history.push_back(fmt::format("{}: experts in the order of {}", io::base_name(model.path()),
                                  p.trace.empty() ? "a list" : io::base_name(p.trace)));
    out.add(provenance_prefix + "version", uint32_t(1));
    out.add(provenance_prefix + "source", io::base_name(model.path()));
    if (!p.trace.empty()) {
        out.add(provenance_prefix + "trace", io::base_name(p.trace));
    }
    for (const auto & [il, layer] : plan.pruning.layers) {
        out.add(order_key(il), original_order(model.metadata(), layer));
    }
    out.add(provenance_prefix + "history", history);
    out.add(provenance_prefix + "imatrix",
            std::string("an importance matrix or a profile made before reordering numbers the experts otherwise; "
                        "moescope reorder --imatrix and --stats carry them along"));
}

gguf::header_writer reordered_metadata(const gguf::model_file & model, const reorder_plan & plan,
                                       const reorder_provenance & provenance) {
    gguf::header_writer            out;
    gguf::kept_experts             kept;
    const gguf::model_file::part & first = model.parts().front();
    for (const gguf::metadata_entry & entry : first.header.metadata) {
        if (const prune::layer_plan * layer = layer_of_kept_list(entry.key, plan)) {
            const std::vector<uint64_t> list = model.metadata().get_uints(entry.key);
            if (list.size() != layer->kept.size()) {
                throw error(
                    fmt::format("'{}' has {} entries for {} experts", entry.key, list.size(), layer->kept.size()))
                    .in(model.path());
            }
            const std::vector<uint64_t> moved = in_order(list, layer->kept);
            out.add(entry.key, std::vector<int32_t>(moved.begin(), moved.end()));
            kept.of_layer[layer->layer] = {moved.begin(), moved.end()};
        } else if (entry.key == gguf::kept_experts_key) {
            out.add(entry.key, gguf::to_text(kept));  // it follows the lists
        } else if (!starts_with(entry.key, "split.") && !starts_with(entry.key, provenance_prefix)) {
            out.copy(first.file, entry);
        }
    }
    if (!provenance.inverse) {
        add_provenance(out, model, plan, provenance);
    }
    return out;
}

prune::tensor_slice slice_of(const gguf::model_file & model, const reorder_plan & plan, const prune::tensor_plan & tp) {
    prune::tensor_slice slice;
    slice.tensor = tp.tensor;
    // Chunks of several experts stay where they are: experts move within theirs.
    const bool stays = tp.layout.part == gguf::expert_part::chunk_matrix && plan.pruning.shape.experts_per_chunk > 1;
    if (tp.layout.part == gguf::expert_part::none || stays) {
        return slice;
    }
    const std::vector<int32_t> & order = plan.pruning.layers.at(tp.layer).kept;
    if (tp.layout.part == gguf::expert_part::hash_table) {
        const auto & t     = model.tensors()[tp.tensor];
        const auto   k     = static_cast<uint32_t>(t.ne[0]);
        auto         remap = std::make_shared<hash_table_remap>(order, plan.pruning.shape.n_expert, k);
        slice.row_size     = k * sizeof(int32_t);
        slice.edit         = [remap](char * rows, uint64_t n_rows, uint64_t) {
            remap->apply(reinterpret_cast<int32_t *>(rows), n_rows);
        };
        return slice;
    }
    slice.whole = false;
    slice.axis  = tp.layout.axis;
    slice.kept  = order;
    return slice;
}

// Whatever is counted or summed per expert, under its new number. Empty columns stay so.
template <class T>
void move(std::vector<T> & column, const std::vector<int32_t> & order) {
    if (column.size() == order.size()) {
        column = in_order(column, order);
    }
}

void move_block(stats::saliency_block & b, const std::vector<int32_t> & order) {
    move(b.count, order);
    move(b.gate, order);
    move(b.gated_norm, order);
    move(b.norm, order);
    move(b.max_norm, order);
    move(b.count_gate, order);
    move(b.count_norm, order);
    std::vector<uint64_t> by_label;
    for (auto row = b.label_count.begin(); row != b.label_count.end(); row += b.n_expert) {
        const std::vector<uint64_t> moved = in_order(std::vector<uint64_t>(row, row + b.n_expert), order);
        by_label.insert(by_label.end(), moved.begin(), moved.end());
    }
    b.label_count = by_label;
}

}  // namespace

uint64_t write_reordered(const gguf::model_file & model, const reorder_plan & plan,
                         const reorder_provenance & provenance, const std::string & path,
                         const prune::copy_progress & progress) {
    std::vector<prune::tensor_slice> slices;
    for (const prune::tensor_plan & tp : plan.pruning.tensors) {
        slices.push_back(slice_of(model, plan, tp));
    }
    return prune::write_sliced(model, reordered_metadata(model, plan, provenance), slices, path, progress);
}

stats::moestats read_stats_of(const std::string & profile, const gguf::model_file & model) {
    stats::moestats s = stats::read_moestats(profile);
    if (s.model_fingerprint != gguf::fingerprint(model.path())) {
        throw error("these are the statistics of another model file")
            .in(profile)
            .fix("profile the model that is reordered");
    }
    return s;
}

void write_reordered_stats(stats::moestats profile, const reorder_plan & plan, const std::string & reordered_model,
                           const std::string & path) {
    for (stats::saliency_block & b : profile.blocks) {
        const auto layer = plan.pruning.layers.find(b.layer);
        if (b.block == 0 && layer != plan.pruning.layers.end()) {
            move_block(b, layer->second.kept);
        }
    }
    profile.model.file        = io::base_name(reordered_model);
    profile.model.file_size   = io::input_file(reordered_model).size();
    profile.model_fingerprint = gguf::fingerprint(reordered_model);
    const std::string bytes   = stats::encode_moestats(profile);
    io::output_file   out(path, io::existing_file::replace, {reordered_model});
    out.write_at(0, bytes.data(), bytes.size());
    out.commit();
}

}  // namespace moescope::reorder
