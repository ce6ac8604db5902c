#include "cli/answers/matched_runs.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "cli/answers/same_model.hpp"
#include "core/error.hpp"
#include "gguf/head.hpp"
#include "gguf/model_file.hpp"
#include "gguf/moe_shape.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

void drop_layers(agreement_result & r, const analyze_options & o) {
    const row_choice choice = choice_of(o);
    r.blocks.erase(std::remove_if(r.blocks.begin(), r.blocks.end(),
                                  [&](const block_agreement & b) { return !choice.layers.has(b.layout.layer); }),
                   r.blocks.end());
}

std::string metadata_of(const model_info & m, const std::string & key) {
    const auto it = std::find_if(m.metadata.begin(), m.metadata.end(), [&](auto & pair) { return pair.first == key; });
    return it == m.metadata.end() ? "" : it->second;
}

// What the trace knows of experts that were pruned, or the model's file, if it is still the file that ran.
gguf::kept_experts kept_of(const model_info & m) {
    const std::string  n    = metadata_of(m, "moescope.prune.expert_count");
    gguf::kept_experts kept = gguf::parse_kept_experts(metadata_of(m, gguf::kept_experts_key),
                                                       static_cast<uint32_t>(std::strtoul(n.c_str(), nullptr, 10)));
    if (kept.pruned() && !kept.of_layer.empty()) {
        return kept;
    }
    std::error_code unknown;
    if (m.file.empty() || m.file_size == 0 || std::filesystem::file_size(m.file, unknown) != m.file_size || unknown ||
        !gguf::is_gguf(m.file)) {
        return {};
    }
    const gguf::model_file model(m.file);
    return gguf::read_kept_experts(model.metadata(), gguf::read_moe_shape(model.metadata()).n_layer, m.file);
}

}  // namespace

matched_files measure_files(const std::string & a, const std::string & b, const analyze_options & o) {
    const auto x = open_trace(o, a), y = open_trace(o, b);
    require_rows(*x);
    require_rows(*y);
    require_layers(*x, o);
    require_layers(*y, o);
    matched_files m;
    m.why_not      = why_unrelated(x->model(), y->model());
    m.names_differ = !x->model().name.empty() && !y->model().name.empty() && x->model().name != y->model().name;
    if (m.why_not.empty()) {
        const gguf::kept_experts kept_x = kept_of(x->model()), kept_y = kept_of(y->model());
        m.mapped = kept_x.pruned() || kept_y.pruned();
        m.result = measure_agreement(*x, *y, kept_x, kept_y);
        drop_layers(m.result, o);
    }
    return m;
}

void refuse_filters(const analyze_options & o, const char * kind) {
    if (!o.phase.empty()) {
        throw usage_error(std::string("--phase does not go with ") + kind + ": runs are matched token by token");
    }
}

running_stats overall(const agreement_result & r) {
    running_stats mean;  // of layers, each of equal weight
    for (const block_agreement & b : r.blocks) {
        if (b.overlap.n() > 0) {
            mean.add(b.overlap.mean());
        }
    }
    return mean;
}

}  // namespace moescope::cli
