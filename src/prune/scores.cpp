#include "prune/scores.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/random_stream.hpp"
#include "gguf/head.hpp"
#include "gguf/imatrix.hpp"
#include "io/input_file.hpp"

namespace moescope::prune {

namespace {

constexpr std::pair<prune_criterion, const char *> criteria[] = {
    {prune_criterion::reap, "reap"},
    {prune_criterion::ean, "ean"},
    {prune_criterion::frequency, "frequency"},
    {prune_criterion::gate, "gate"},
    {prune_criterion::weighted_frequency, "weighted-frequency"},
    {prune_criterion::random, "random"},
    {prune_criterion::ids, "ids"},
};

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

std::vector<double> layer_scores(const nlohmann::json & layer, prune_criterion criterion, const std::string & path) {
    switch (criterion) {
        case prune_criterion::reap: return read_numbers(layer, "reap", path);
        case prune_criterion::ean: return read_numbers(layer, "ean_mean", path);
        case prune_criterion::frequency: return read_numbers(layer, "activation_frequency", path);
        case prune_criterion::gate: return read_numbers(layer, "avg_gate_weight", path);
        case prune_criterion::weighted_frequency: {  // the sum of an expert's gate weights over all tokens
            std::vector<double>       scores = read_numbers(layer, "activation_frequency", path);
            const std::vector<double> gate   = read_numbers(layer, "avg_gate_weight", path);
            if (gate.size() != scores.size()) {
                throw error("'activation_frequency' and 'avg_gate_weight' differ in length").in(path);
            }
            std::transform(scores.begin(), scores.end(), gate.begin(), scores.begin(), std::multiplies<>());
            return scores;
        }
        default: throw usage_error(fmt::format("criterion {} takes no statistics", criterion_name(criterion)));
    }
}

}  // namespace

const char * criterion_name(prune_criterion criterion) {
    for (const auto & [value, name] : criteria) {
        if (value == criterion) {
            return name;
        }
    }
    return "?";
}

prune_criterion parse_criterion(const std::string & name) {
    std::string names;
    for (const auto & [value, known] : criteria) {
        if (name == known) {
            return value;
        }
        names += (names.empty() ? "" : ", ") + std::string(known);
    }
    throw usage_error(fmt::format("unknown criterion '{}'", name)).fix("the criteria are " + names);
}

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
