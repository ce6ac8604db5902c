#include "make-model/planted_family.hpp"

#include "core/error.hpp"
#include "make-model/planted_truth.hpp"

namespace moescope::make_model {

const std::vector<planted_family> & planted_families() {
    using router                                      = planted_family::router_kind;
    static const std::vector<planted_family> families = {
        {"qwen3moe", router::softmax_normalised, false, "ffn_norm"},
        {"llama", router::softmax_normalised, false, "ffn_norm"},
        {"olmoe", router::softmax, false, "ffn_norm"},
        {"gpt-oss", router::softmax_over_selected, true, "post_attention_norm"},
        {"minimax-m2", router::sigmoid_biased, false, "ffn_norm"},
    };
    return families;
}

std::vector<std::string> planted_architectures() {
    std::vector<std::string> names;
    for (const planted_family & family : planted_families()) {
        names.push_back(family.arch);
    }
    return names;
}

const planted_family & planted_family_of(const std::string & arch) {
    std::string known;
    for (const planted_family & family : planted_families()) {
        if (arch == family.arch) {
            return family;
        }
        known += (known.empty() ? "" : ", ") + std::string(family.arch);
    }
    throw error("no planted model of architecture '" + arch + "'").fix("take one of " + known);
}

}  // namespace moescope::make_model
