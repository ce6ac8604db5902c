#include "prune/scores.hpp"

#include "core/error.hpp"
#include "gguf/model_file.hpp"
#include "gguf/tensor_name.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

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
            .fix("expert_stats.json has one key per layer and nothing else at top level");
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
            throw error(fmt::format("'{}' holds something that is not a finite number", name)).in(path);
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

bool is_expert_matrix(const std::string & base) {
    return base == "ffn_gate_exps" || base == "ffn_up_exps" || base == "ffn_down_exps" || base == "ffn_gate_up_exps";
}

std::vector<double> read_counts(const gguf::model_file & file, const gguf::model_file::tensor & t) {
    const gguf::model_file::part & part = file.parts()[t.part];
    std::vector<float>             counts(t.size / sizeof(float));
    part.file.read_at(part.header.data_begin + t.offset, counts.data(), t.size);
    for (const float c : counts) {
        if (!(c >= 0) || !std::isfinite(c)) {
            throw error(fmt::format("'{}' holds a count that is no number", t.name)).in(file.path());
        }
    }
    return {counts.begin(), counts.end()};
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

expert_scores read_imatrix_counts(const std::string & path) {
    const gguf::model_file file(path);
    if (file.metadata().get_string("general.type") != "imatrix") {
        throw error("a GGUF file, but not an imatrix").in(path);
    }
    expert_scores     scores;
    const std::string ending = ".counts";
    scores.source            = path;
    for (const gguf::model_file::tensor & t : file.tensors()) {
        if (t.name.size() <= ending.size() ||
            t.name.compare(t.name.size() - ending.size(), ending.size(), ending) != 0) {
            continue;
        }
        const gguf::tensor_name name =
            gguf::parse_tensor_name(std::string_view(t.name).substr(0, t.name.size() - ending.size()));
        if (name.layer >= 0 && is_expert_matrix(name.base) && t.type == GGML_TYPE_F32 && t.ne[0] == 1 && t.ne[1] > 1) {
            scores.layers.emplace(name.layer, read_counts(file, t));  // the same for each of a layer's matrices
        }
    }
    if (scores.layers.empty()) {
        throw error("this imatrix has no counts per expert").in(path);
    }
    return scores;
}

expert_scores read_expert_scores(const std::string & path, prune_criterion criterion) {
    const io::input_file file(path);
    char                 magic[4] = {};
    file.read_at(0, magic, std::min<uint64_t>(sizeof(magic), file.size()));
    if (std::equal(magic, magic + 4, GGUF_MAGIC)) {
        if (criterion != prune_criterion::frequency) {
            throw usage_error(fmt::format("an imatrix says how often experts were selected, which is not enough for {}",
                                          criterion_name(criterion)))
                .in(path)
                .fix("use --criterion frequency");
        }
        return read_imatrix_counts(path);
    }
    return read_expert_stats_json(path, criterion);
}

std::vector<double> random_scores(uint64_t seed, int il, size_t n_expert) {
    // splitmix64 (Steele, Lea, Flood 2014), started from the seed and the layer; <random> differs between libraries.
    uint64_t   state = seed * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(il) * 0xd1342543de82ef95u;
    const auto next  = [&] {
        uint64_t z = state += 0x9e3779b97f4a7c15u;
        z          = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z          = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    };
    std::vector<double> scores(n_expert);
    for (double & s : scores) {
        s = static_cast<double>(next() >> 11) * 0x1p-53;
    }
    return scores;
}

}  // namespace moescope::prune
