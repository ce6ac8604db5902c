#include "gguf/kept_experts.hpp"

#include "core/error.hpp"

namespace moescope::gguf {

kept_experts read_kept_experts(const model_metadata & metadata, uint32_t n_layer, const std::string & path) {
    kept_experts kept;
    kept.n_expert = static_cast<uint32_t>(metadata.get_uint("moescope.prune.expert_count").value_or(0));
    if (!kept.pruned()) {
        return kept;
    }
    for (uint32_t il = 0; il < n_layer; ++il) {
        const std::string key = "moescope.prune.kept." + std::to_string(il);
        for (const uint64_t id : metadata.get_uints(key)) {
            if (id >= kept.n_expert) {
                throw error(key + " names expert " + std::to_string(id) + " of " + std::to_string(kept.n_expert))
                    .in(path);
            }
            kept.of_layer[static_cast<int32_t>(il)].push_back(static_cast<uint32_t>(id));
        }
    }
    return kept;
}

}  // namespace moescope::gguf
