#include "gguf/map_format.hpp"

#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace moescope::gguf {

namespace {

std::string csv_field(const std::string & text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) {
        return text;
    }
    std::string quoted = "\"";
    for (const char c : text) {
        quoted += c == '"' ? "\"\"" : std::string(1, c);
    }
    return quoted + '"';
}

// A JSON string literal. Names are ASCII in practice; bytes that are no UTF-8 are replaced.
std::string json_string(const std::string & text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

uint64_t data_begin(const model_file & model, const map_entry & e) {
    return model.parts()[model.tensors()[e.tensor].part].header.data_begin;
}

std::string model_json(const memory_map & map) {
    const nlohmann::ordered_json model = {
        {"architecture", map.shape.arch},
        {"name", map.shape.name},
        {"n_layer", map.shape.n_layer},
        {"n_expert", map.shape.n_expert},
        {"n_expert_used", map.shape.n_expert_used},
    };
    return model.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string files_json(const model_file & model) {
    nlohmann::ordered_json files = nlohmann::ordered_json::array();
    for (const model_file::part & part : model.parts()) {
        files.push_back({{"path", part.file.path()},
                         {"size_bytes", part.file.size()},
                         {"data_offset", part.header.data_begin},
                         {"alignment", part.header.alignment}});
    }
    return files.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string totals_json(const memory_map & map) {
    const map_totals &     t      = map.totals;
    nlohmann::ordered_json totals = {
        {"n_tensors", t.n_tensors}, {"n_entries", map.entries.size()},  {"n_experts", t.n_experts},
        {"bytes", t.bytes},         {"bytes_experts", t.bytes_experts}, {"bytes_other", t.bytes - t.bytes_experts},
    };
    if (t.bytes_per_token > 0) {
        totals["bytes_per_token"] = t.bytes_per_token;
    }
    for (const auto & [component, bytes] : t.by_component) {
        totals["by_component"][component] = bytes;
    }
    for (const auto & [layer, bytes] : t.by_layer) {
        totals["by_layer"][std::to_string(layer)] = bytes;
    }
    return totals.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string map_totals_to_json(const memory_map & map) {
    return totals_json(map) + "\n";
}

std::string map_to_csv(const memory_map & map, const model_file & model, bool absolute) {
    const bool         is_split = model.parts().size() > 1;
    fmt::memory_buffer out;
    auto               to = std::back_inserter(out);
    fmt::format_to(to, "tensor_name,file_offset,size_bytes,layer_id,component_type,n_dims,dim0,dim1,dim2,dim3{}\n",
                   is_split ? ",part" : "");
    for (const map_entry & e : map.entries) {
        const uint64_t offset = e.offset + (absolute ? data_begin(model, e) : 0);
        fmt::format_to(to, "{},{},{},{},{},{},{},{},{},{}", csv_field(e.name), offset, e.size, e.layer,
                       csv_field(e.component), e.n_dims, e.dims[0], e.dims[1], e.dims[2], e.dims[3]);
        if (is_split) {
            fmt::format_to(to, ",{}", model.tensors()[e.tensor].part + 1);
        }
        out.push_back('\n');
    }
    return fmt::to_string(out);
}

std::string map_to_json(const memory_map & map, const model_file & model) {
    fmt::memory_buffer out;
    auto               to = std::back_inserter(out);
    fmt::format_to(to, "{{\n\"model\": {},\n\"files\": {},\n\"totals\": {},\n\"tensors\": [", model_json(map),
                   files_json(model), totals_json(map));
    const char * separator = "\n";
    for (const map_entry & e : map.entries) {
        const model_file::tensor & t = model.tensors()[e.tensor];
        fmt::format_to(to, "{}{{\"name\": {}, \"base_name\": {}", separator, json_string(e.name), json_string(t.name));
        if (e.expert_id >= 0) {
            fmt::format_to(to, ", \"expert_id\": {}", e.expert_id);
        }
        fmt::format_to(to,
                       ", \"offset_start\": {}, \"size_bytes\": {}, \"layer_id\": {}, \"component_type\": {}, "
                       "\"shape\": [{}], \"type\": {}",
                       data_begin(model, e) + e.offset, e.size, e.layer, json_string(e.component),
                       fmt::join(e.dims.begin(), e.dims.begin() + e.n_dims, ", "), json_string(ggml_type_name(t.type)));
        if (model.parts().size() > 1) {
            fmt::format_to(to, ", \"file\": {}", t.part);
        }
        out.push_back('}');
        separator = ",\n";
    }
    fmt::format_to(to, "\n]\n}}\n");
    return fmt::to_string(out);
}

}  // namespace moescope::gguf
