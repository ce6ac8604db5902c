#include "gguf/kept_experts.hpp"

#include <charconv>

#include "core/error.hpp"

namespace moescope::gguf {

std::string to_text(const kept_experts & kept) {
    std::string text;
    for (const auto & [layer, ids] : kept.of_layer) {
        text += (text.empty() ? "" : ";") + std::to_string(layer);
        char before = ':';
        for (const uint32_t id : ids) {
            text += before + std::to_string(id);
            before = ',';
        }
    }
    return text;
}

kept_experts parse_kept_experts(const std::string & text, uint32_t n_expert) {
    kept_experts            kept;
    std::vector<uint32_t> * list = nullptr;  // of the layer at hand
    const char *            at = text.data(), *end = text.data() + text.size();
    for (bool more = true; more;) {
        uint32_t number          = 0;
        const auto [next, wrong] = std::from_chars(at, end, number);
        const char sign          = next < end ? *next : '\0';
        const bool begins        = list == nullptr;  // a layer: "7:"
        const bool follows       = begins ? sign == ':' : sign == ',' || sign == ';' || next == end;
        if (wrong != std::errc() || !follows || (begins ? number > INT32_MAX : number >= n_expert)) {
            return {};
        }
        if (begins) {
            list = &kept.of_layer[static_cast<int32_t>(number)];
        } else {
            list->push_back(number);
            list = sign == ';' ? nullptr : list;
        }
        more = next < end;
        at   = next + 1;
    }
    kept.n_expert = n_expert;
    return kept;
}

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
