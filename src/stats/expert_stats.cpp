#include "stats/expert_stats.hpp"

#include <nlohmann/json.hpp>

namespace moescope::stats {

namespace {

using json = nlohmann::ordered_json;

template <class F>
json per_expert(const saliency_block & b, F && f) {
    json list = json::array();
    for (uint32_t e = 0; e < b.n_expert; ++e) {
        list.push_back(f(e));
    }
    return list;
}

json layer_json(const saliency_block & b) {
    json j;
    j["total_tokens"]         = b.rows;
    j["activation_counts"]    = b.count;
    j["activation_frequency"] = per_expert(b, [&](uint32_t e) { return b.frequency(e); });
    j["avg_gate_weight"]      = per_expert(b, [&](uint32_t e) { return b.mean_gate(e); });
    j["ean_mean"]             = per_expert(b, [&](uint32_t e) { return b.ean(e); });
    j["reap"]                 = per_expert(b, [&](uint32_t e) { return b.reap(e); });
    j["never_activated"]      = per_expert(b, [&](uint32_t e) { return b.count[e] == 0; });
    return j;
}

}  // namespace

std::string expert_stats_json(const moestats & s) {
    // A line per array: a person can read it, and a diff shows which layer changed.
    std::string text = "{";
    for (const saliency_block * b : s.routed()) {
        text += text.size() == 1 ? "\n" : ",\n";
        text += "  \"" + std::to_string(b->layer) + "\": {";
        const json layer = layer_json(*b);
        for (const auto & [key, value] : layer.items()) {
            text += (text.back() == '{' ? "\n    \"" : ",\n    \"") + key + "\": " + value.dump();
        }
        text += "\n  }";
    }
    return text + (text.size() == 1 ? "}\n" : "\n}\n");
}

}  // namespace moescope::stats
