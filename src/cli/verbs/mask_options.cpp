#include "cli/verbs/mask_options.hpp"

#include <fstream>
#include <iterator>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "gguf/model_file.hpp"
#include "gguf/router_shapes.hpp"

namespace moescope::cli {

namespace {

constexpr const char * bias_example = "{\"5\": {\"15\": -2.0, \"3\": \"-inf\"}}";

// {"5": {"15": -2.0}, "*": {"0-3": "-inf"}}: layers and experts as in the other options.
expert_mask parse_bias_json(const std::string & text) {
    const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions*/ false);
    if (!json.is_object()) {
        throw error(fmt::format("not a JSON object of layers, such as {}", bias_example));
    }
    expert_mask mask;
    for (const auto & [layer, experts] : json.items()) {
        if (!experts.is_object()) {
            throw error(fmt::format("layer {} has no object of experts and biases, as in {}", layer, bias_example));
        }
        for (const auto & [expert, bias] : experts.items()) {
            if (!bias.is_number() && bias != "-inf") {
                throw error(
                    fmt::format("the bias of expert {} in layer {} is no number and not \"-inf\"", expert, layer));
            }
            const std::string value = bias.is_number() ? fmt::format("{}", bias.get<double>()) : "-inf";
            mask |= parse_router_bias(layer + ":" + expert + "=" + value);
        }
    }
    if (mask.empty()) {
        throw error("no bias in it");
    }
    return mask;
}

expert_mask read_bias_file(const std::string & path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        throw error("cannot open").in(path);
    }
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    try {
        return parse_bias_json(text);
    } catch (error & e) {
        throw error(e.reason()).in(path);
    }
}

}  // namespace

void add_mask_options(CLI::App & verb, mask_options & o) {
    verb.add_option("--omit", o.omit, "switch experts off: LAYER:EXPERT, e.g. 5:15,3:28-30,*:7; repeatable")
        ->type_name("LIST")
        ->allow_extra_args(false);
    verb.add_option("--only", o.only, "switch all other experts of these layers off, e.g. 5:0-7; repeatable")
        ->type_name("LIST")
        ->allow_extra_args(false);
    verb.add_option("--router-bias", o.bias_file,
                    "add to the router's scores what a JSON file says by layer and expert: {\"5\": {\"15\": -2.0}}")
        ->type_name("FILE");
}

expert_mask read_mask(const mask_options & o) {
    expert_mask mask;
    for (const std::string & list : o.omit) {
        mask |= parse_omit(list);
    }
    for (const std::string & list : o.only) {
        mask |= parse_only(list);
    }
    if (!o.bias_file.empty()) {
        mask |= read_bias_file(o.bias_file);
    }
    return mask;
}

expert_mask read_mask(const mask_options & o, const std::string & model_path) {
    expert_mask mask = read_mask(o);
    if (!mask.empty()) {
        try {
            mask.check(gguf::router_shapes(gguf::model_file(model_path)));
        } catch (usage_error & e) {
            throw e.in(model_path);
        }
        note(mask_note(mask));
    }
    return mask;
}

std::string mask_note(const expert_mask & mask) {
    constexpr size_t  enough = 200;
    const std::string text   = mask.to_text();
    return fmt::format("masked ({}): the output is not the model's own",
                       text.size() > enough ? text.substr(0, enough) + "…" : text);
}

}  // namespace moescope::cli
