#include "prune/scores.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/random_stream.hpp"
#include "gguf/head.hpp"
#include "gguf/imatrix.hpp"
#include "io/input_file.hpp"

namespace moescope::prune {

namespace {

int parse_layer(const std::string & key, const std::string & path) {
    int layer                = -1;
    const auto [end, failed] = std::from_chars(key.data(), key.data() + key.size(), layer);
    if (failed != std::errc() || end != key.data() + key.size() || layer < 0) {
        throw error(fmt::format("key '{}' is not a layer", key))
            .in(path)
            .fix("expert_stats.json has one key per layer and nothing else at the top level");
    }
    return layer;
}

std::vector<double> read_numbers(const nlohmann::json & layer, const char * name, const std::string & path) {
    const auto it = layer.find(name);
    if (it == layer.end() || !it->is_array()) {
        throw error(fmt::format("a layer has no list '{}'", name)).in(path).fix("choose another criterion");
    }
    std::vector<double> values;
    for (const auto & v : *it) {
        if (!v.is_number() || !std::isfinite(v.get<double>())) {
            throw error(fmt::format("'{}' holds a value that is not a finite number", name)).in(path);
        }
        values.push_back(v.get<double>());
    }
    return values;
}

// A mean times how often: the sum.
std::vector<double> product(const nlohmann::json & layer, const char * mean, const char * times,
                            const std::string & path) {
    std::vector<double>       scores = read_numbers(layer, mean, path);
    const std::vector<double> n      = read_numbers(layer, times, path);
    if (n.size() != scores.size()) {
        throw error(fmt::format("'{}' and '{}' differ in length", times, mean)).in(path);
    }
    std::transform(scores.begin(), scores.end(), n.begin(), scores.begin(), std::multiplies<>());
    return scores;
}

std::vector<double> layer_scores(const nlohmann::json & layer, prune_criterion criterion, const std::string & path) {
    switch (criterion) {
        case prune_criterion::reap: return read_numbers(layer, "reap", path);
        case prune_criterion::man: return read_numbers(layer, "ean_mean", path);
        case prune_criterion::reap_sum: return product(layer, "reap", "activation_counts", path);
        case prune_criterion::ean_sum: return product(layer, "ean_mean", "activation_counts", path);
        case prune_criterion::seer: return product(layer, "avg_gate_weight", "activation_counts", path);
        case prune_criterion::frequency: return read_numbers(layer, "activation_frequency", path);
        case prune_criterion::gate: return read_numbers(layer, "avg_gate_weight", path);
        case prune_criterion::weighted_frequency:
            return product(layer, "avg_gate_weight", "activation_frequency", path);
        case prune_criterion::random:
        case prune_criterion::ids:
            throw usage_error(fmt::format("criterion {} takes no statistics", criterion_name(criterion)));
        default:
            throw usage_error(fmt::format("an expert_stats.json does not say enough for {}", criterion_name(criterion)))
                .in(path)
                .fix("give the .moestats of moescope profile");
    }
}

}  // namespace

expert_scores read_expert_stats_json(const std::string & path, prune_criterion criterion) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        throw error("cannot open").in(path);
    }
    expert_scores scores;
    scores.source = path;
    nlohmann::json json;
    try {
        json = nlohmann::json::parse(in);
    } catch (const nlohmann::json::exception &) {
        throw error("neither an expert_stats.json nor an imatrix in GGUF").in(path);
    }
    if (!json.is_object() || json.empty()) {
        throw error("no layers in it").in(path);
    }
    for (const auto & [key, layer] : json.items()) {
        if (!layer.is_object()) {
            throw error(fmt::format("layer '{}' is not an object", key)).in(path);
        }
        scores.layers[parse_layer(key, path)] = layer_scores(layer, criterion, path);
    }
    return scores;
}

expert_scores read_imatrix_scores(const std::string & path) {
    expert_scores scores;
    scores.source = path;
    for (const auto & [layer, l] : gguf::read_imatrix(path).layers) {
        scores.layers[layer].assign(l.count.begin(), l.count.end());
    }
    return scores;
}

expert_scores read_expert_scores(const std::string & path, prune_criterion criterion) {
    const io::input_file must_be_readable(path);
    if (gguf::is_gguf(path)) {
        if (criterion != prune_criterion::frequency) {
            throw usage_error(
                fmt::format("an imatrix says only how often experts were selected, which is not enough for {}",
                            criterion_name(criterion)))
                .in(path)
                .fix("use --criterion frequency");
        }
        return read_imatrix_scores(path);
    }
    return read_expert_stats_json(path, criterion);
}

std::vector<double> random_scores(uint64_t seed, int il, size_t n_expert) {
    random_stream       random(seed * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(il) * 0xd1342543de82ef95u);
    std::vector<double> scores(n_expert);
    std::generate(scores.begin(), scores.end(), [&] { return random.uniform(); });
    return scores;
}

}  // namespace moescope::prune
