#include "prune/expert_ids.hpp"

#include <charconv>
#include <fstream>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace moescope::prune {

namespace {

constexpr std::string_view separators = " \t\r,;[]\"";

// All numbers in the text, or nothing where anything else is in it.
std::optional<std::vector<int32_t>> parse_numbers(std::string_view text) {
    std::vector<int32_t> numbers;
    size_t               at = text.find_first_not_of(separators);
    while (at < text.size()) {
        int32_t value            = -1;
        const auto [end, failed] = std::from_chars(text.data() + at, text.data() + text.size(), value);
        at                       = static_cast<size_t>(end - text.data());
        const bool ends_here     = at == text.size() || separators.find(text[at]) != std::string_view::npos;
        if (failed != std::errc() || value < 0 || !ends_here) {
            return std::nullopt;
        }
        numbers.push_back(value);
        at = text.find_first_not_of(separators, at);
    }
    return numbers;
}

expert_ids_by_layer from_json(const nlohmann::json & json, const std::string & path) {
    expert_ids_by_layer ids;
    for (const auto & [key, list] : json.items()) {
        const auto layer = parse_numbers(key);
        if (!layer || layer->size() != 1 || !list.is_array()) {
            throw error(fmt::format("'{}' is not a layer with a list of ids", key)).in(path);
        }
        for (const auto & id : list) {
            if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
                throw error(fmt::format("layer {} lists something that is not an id", key)).in(path);
            }
            ids[layer->front()].push_back(id.get<int32_t>());
        }
    }
    return ids;
}

expert_ids_by_layer from_lines(const std::string & text, const std::string & path) {
    expert_ids_by_layer ids;
    size_t              begin = 0;
    for (int number = 1; begin < text.size(); ++number) {
        const size_t     end  = std::min(text.find('\n', begin), text.size());
        std::string_view line = std::string_view(text).substr(begin, end - begin);
        line                  = line.substr(0, line.find('#'));
        begin                 = end + 1;
        if (line.find_first_not_of(separators) == std::string_view::npos) {
            continue;
        }
        const size_t split = line.find_first_of(":,");
        const auto   layer = parse_numbers(line.substr(0, split));
        const auto   list  = split == std::string_view::npos ? std::nullopt : parse_numbers(line.substr(split + 1));
        if (!layer || layer->size() != 1 || !list || list->empty()) {
            throw error(fmt::format("line {} is not a layer and its expert ids, such as 3: 52 40 85", number)).in(path);
        }
        if (!ids.emplace(layer->front(), *list).second) {
            throw error(fmt::format("line {} names layer {} again", number, layer->front())).in(path);
        }
    }
    return ids;
}

}  // namespace

expert_ids_by_layer read_expert_ids(const std::string & path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        throw error("cannot open").in(path);
    }
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto        json = nlohmann::json::parse(text, nullptr, /*allow_exceptions*/ false);
    auto              ids  = json.is_object() ? from_json(json, path) : from_lines(text, path);
    if (ids.empty()) {
        throw error("no expert ids in it").in(path);
    }
    return ids;
}

expert_ids_by_layer other_ids(const expert_ids_by_layer & ids, uint32_t n_expert) {
    expert_ids_by_layer others;
    for (const auto & [layer, list] : ids) {
        std::vector<bool> listed(n_expert);
        for (const int32_t id : list) {
            if (id < 0 || static_cast<uint32_t>(id) >= n_expert) {
                throw usage_error(fmt::format("layer {} has no expert {}", layer, id));
            }
            listed[static_cast<size_t>(id)] = true;
        }
        std::vector<int32_t> & rest = others[layer];
        for (uint32_t id = 0; id < n_expert; ++id) {
            if (!listed[id]) {
                rest.push_back(static_cast<int32_t>(id));
            }
        }
    }
    return others;
}

expert_ids_by_layer parse_expert_ids(const std::vector<std::string> & items, const std::string & option) {
    expert_ids_by_layer ids;
    for (const std::string & item : items) {
        const size_t colon = item.find(':');
        const auto   layer = colon == std::string::npos
                                 ? std::vector<int32_t>{every_layer}
                                 : parse_numbers(item.substr(0, colon)).value_or(std::vector<int32_t>{});
        const auto   list  = parse_numbers(colon == std::string::npos ? item : item.substr(colon + 1));
        if (layer.size() != 1 || !list || list->empty()) {
            throw usage_error(
                fmt::format("{} takes ids such as 3,17 (every layer) or 5:3,17 (layer 5), not '{}'", option, item));
        }
        auto & of_layer = ids[layer.front()];
        of_layer.insert(of_layer.end(), list->begin(), list->end());
    }
    return ids;
}

}  // namespace moescope::prune
