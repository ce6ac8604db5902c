// moescope info: what a trace, a log or a model is.

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/answers/profile_files.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "gguf/expert_tensor.hpp"
#include "gguf/head.hpp"
#include "gguf/model_file.hpp"
#include "gguf/moe_shape.hpp"
#include "logs/open.hpp"

namespace moescope::cli {

namespace {

using nlohmann::ordered_json;

struct info_options {
    std::string    file;
    bool           json = false;
    output_options output;
};

// One value per line of a table: the same document serves people and programs.
void print_value(std::string & out, const std::string & key, const ordered_json & value, size_t indent) {
    const std::string pad(indent, ' ');
    if (value.is_object()) {
        out += fmt::format("{}{}\n", pad, printable(key));
        for (const auto & [k, v] : value.items()) {
            print_value(out, k, v, indent + 2);
        }
    } else if (value.is_array() && !value.empty() && value.front().is_object()) {
        out += fmt::format("{}{}\n", pad, printable(key));
        for (const ordered_json & item : value) {
            std::string line;
            for (const auto & [k, v] : item.items()) {
                line += (line.empty() ? "" : "  ") + k + "=" + (v.is_string() ? v.get<std::string>() : v.dump());
            }
            out += pad + "  " + printable(line) + "\n";
        }
    } else if (value.is_array()) {
        out += fmt::format("{}{}\n", pad, value.empty() ? printable(key) + ": none" : printable(key));
        for (const ordered_json & item : value) {
            out += pad + "  " + printable(item.is_string() ? item.get<std::string>() : item.dump()) + "\n";
        }
    } else if (!(value.is_string() && value.get<std::string>().empty())) {  // unknown
        constexpr size_t longest = 200;                                     // lists of experts can be long
        std::string      text    = printable(value.is_string() ? value.get<std::string>() : value.dump());
        if (const size_t cut = text.rfind(',', longest); text.size() > longest && cut != std::string::npos) {
            text = text.substr(0, cut) + fmt::format(" … ({} characters)", text.size());
        }
        out += fmt::format("{}{:<18} {}\n", pad, printable(key), text);
    }
}

ordered_json block_json(const block_layout & b) {
    ordered_json one = {{"layer", b.layer},
                        {"block", b.block},
                        {"n_expert", b.n_expert},
                        {"n_expert_used", b.n_expert_used},
                        {"columns", to_string(b.columns)}};
    if (b.n_embd > 0) {
        one["n_embd"] = b.n_embd;
    }
    if (b.weight_sum != 0) {
        one["weight_sum"] = b.weight_sum;
    }
    for (const auto & [flag, name] : {std::pair{block_layout::mtp, "mtp"},
                                      {block_layout::ids_repeat, "ids_repeat"},
                                      {block_layout::norms_gated, "norms_gated"},
                                      {block_layout::given_ids, "given_ids"}}) {
        if (b.has(flag)) {
            one[name] = true;
        }
    }
    return one;
}

ordered_json trace_info_json(const std::string & path) {
    const auto                source = logs::open_source(path);
    const trace::trace_info & i      = source->info();
    const model_info &        m      = source->model();
    ordered_json              model  = {{"architecture", m.architecture},   {"name", m.name},       {"file", m.file},
                                        {"file_size", m.file_size},         {"n_layer", m.n_layer}, {"n_expert", m.n_expert},
                                        {"n_expert_used", m.n_expert_used}, {"n_embd", m.n_embd},   {"n_vocab", m.n_vocab}};
    for (const auto & [key, value] : m.metadata) {
        model[key] = value;
    }
    ordered_json blocks = ordered_json::array();
    for (const block_layout & b : source->blocks()) {
        blocks.push_back(block_json(b));
    }
    ordered_json info = {{"file", path},
                         {"kind", i.format == "moetrace" ? "trace" : "foreign log"},
                         {"format", i.format},
                         {"program", i.program},
                         {"pid", i.pid},
                         {"stream", i.stream},
                         {"started_unix_ns", i.started_unix_ns},
                         {"written_by", i.writer_version.empty() ? "" : "moescope " + i.writer_version},
                         {"captured", i.captured},
                         {"mode", i.counts_only ? "counts" : "rows"},
                         {"parts", i.n_parts},
                         {"bytes", i.bytes},
                         {"ended", i.ended},
                         {"end_reason", i.end_reason},
                         {"run_ns", i.run_ns},
                         {"capture_ns", i.capture_ns},
                         {"lost_bytes", i.lost_bytes},
                         {"unread_part", i.unread_part},
                         {"notes", i.notes},
                         {"model", model},
                         {"blocks", blocks}};
    if (i.compute_ns > 0) {
        info["compute_ns"] = i.compute_ns;
    }
    if (i.taken_back > 0) {
        info["tokens_taken_back"] = i.taken_back;
    }
    if (!i.left_out.empty()) {
        info["left_out"] = i.left_out;
    }
    if (!i.mask.empty()) {
        info["mask"] = i.mask;
    }
    return info;
}

const char * part_name(gguf::expert_part part) {
    switch (part) {
        case gguf::expert_part::matrix: return "expert matrices";
        case gguf::expert_part::chunk_matrix: return "matrices per chunk of experts";
        case gguf::expert_part::router: return "router";
        case gguf::expert_part::value: return "values per expert";
        case gguf::expert_part::hash_table: return "hash table of ids";
        case gguf::expert_part::unknown: return "unknown, looks expert-shaped";
        case gguf::expert_part::none: break;
    }
    return "";
}

// "qwen3moe.expert_count" speaks of experts; "qwen3moe.block_count" does not.
bool is_of_experts(const std::string & key) {
    const std::string rest = key.substr(key.find('.') + 1);
    return rest.find("expert") != std::string::npos || rest.find("moe") != std::string::npos;
}

ordered_json metadata_value(const gguf::model_metadata & m, const gguf::metadata_entry & e) {
    switch (e.type) {
        case GGUF_TYPE_STRING: return m.get_string(e.key).value_or("");
        case GGUF_TYPE_BOOL: return m.get_bool(e.key).value_or(false);
        case GGUF_TYPE_FLOAT32:
        case GGUF_TYPE_FLOAT64: return m.get_float(e.key).value_or(0);
        case GGUF_TYPE_ARRAY: return m.get_uints(e.key);
        default: break;
    }
    const auto number = m.get_uint(e.key);
    return number ? ordered_json(*number) : ordered_json(nullptr);
}

ordered_json model_info_json(const std::string & path) {
    const gguf::model_file model(path);
    const gguf::moe_shape  shape = gguf::read_moe_shape(model.metadata());

    ordered_json tensors = ordered_json::array(), metadata = ordered_json::object();
    uint64_t     bytes = 0, bytes_moe = 0;
    for (const gguf::model_file::tensor & t : model.tensors()) {
        const gguf::expert_layout layout = gguf::find_expert_layout(t, gguf::parse_tensor_name(t.name), shape);
        bytes += t.size;
        if (layout.part == gguf::expert_part::none) {
            continue;
        }
        bytes_moe += t.size;
        std::string dims;
        for (uint32_t d = 0; d < t.n_dims; ++d) {
            dims += (d > 0 ? " x " : "") + std::to_string(t.ne[d]);
        }
        tensors.push_back({{"name", t.name},
                           {"type", ggml_type_name(t.type)},
                           {"shape", dims},
                           {"bytes", t.size},
                           {"is", part_name(layout.part)}});
    }
    for (const gguf::metadata_entry & e : model.parts().front().header.metadata) {
        if (is_of_experts(e.key)) {
            metadata[e.key] = metadata_value(model.metadata(), e);
        }
    }
    ordered_json j = {{"file", path},
                      {"kind", "model"},
                      {"architecture", shape.arch},
                      {"name", shape.name},
                      {"parts", model.parts().size()},
                      {"n_layer", shape.n_layer},
                      {"bytes", bytes}};
    if (tensors.empty()) {
        j["moe"] = "no MoE layers";
        return j;
    }
    j["n_layer_mtp"]   = shape.n_layer_nextn;
    j["n_expert"]      = shape.n_expert;
    j["n_expert_used"] = shape.n_expert_used_max();
    j["bytes_moe"]     = bytes_moe;
    j["metadata"]      = metadata;
    j["tensors"]       = tensors;
    return j;
}

ordered_json part_json(const stats::corpus_part & part) {
    return {{"name", part.name},           {"bytes", part.bytes},         {"samples", part.samples},
            {"tokens", part.tokens},       {"truncated", part.truncated}, {"empty", part.empty},
            {"malformed", part.malformed}, {"complete", part.complete}};
}

ordered_json profile_info_json(const std::string & path) {
    const stats::moestats s       = read_profile(path);
    ordered_json          corpora = ordered_json::array(), blocks = ordered_json::array(), options;
    for (const stats::corpus_part & part : s.corpora) {
        corpora.push_back(part_json(part));
    }
    for (const auto & [key, value] : s.options) {
        options[key] = value;
    }
    for (const stats::saliency_block & b : s.blocks) {
        blocks.push_back({{"layer", b.layer},
                          {"block", b.block},
                          {"n_expert", b.n_expert},
                          {"n_expert_used", b.n_expert_used},
                          {"rows", b.rows}});
    }
    ordered_json j = {
        {"file", path}, {"kind", "profile"}, {"format", stats::is_moestats(path) ? "moestats" : "expert_stats.json"}};
    if (stats::is_moestats(path)) {
        j["model"]   = {{"architecture", s.model.architecture}, {"name", s.model.name}, {"file", s.model.file}};
        j["gate"]    = to_string(s.gate);
        j["options"] = options;
        j["labels"]  = s.labels;
        j["corpora"] = corpora;
    }
    j["blocks"] = blocks;
    return j;
}

void run_info(info_options & o) {
    o.output.inputs      = {o.file};
    const ordered_json j = gguf::is_gguf(o.file) ? model_info_json(o.file)
                           : is_profile(o.file)  ? profile_info_json(o.file)
                                                 : trace_info_json(o.file);
    std::string        text;
    if (o.json) {
        text = to_text(j);
    } else {
        for (const auto & [key, value] : j.items()) {
            print_value(text, key, value, 0);
        }
    }
    write_text(o.output, text);
}

}  // namespace

void add_info(CLI::App & app) {
    const auto o    = std::make_shared<info_options>();
    CLI::App & verb = *app.add_subcommand(
        "info", "what a trace or a profile holds; for a model, its MoE tensors and routing metadata");
    verb.add_option("FILE", o->file,
                    "a trace, a profile (.moestats, expert_stats.json), a log of another tool, or a GGUF model")
        ->required()
        ->type_name("");
    verb.add_flag("--json", o->json, "as JSON");
    add_output_options(verb, o->output, "write here instead of to stdout");
    add_examples(verb, {{"moescope info run.moetrace", "who wrote it, of which model, with which columns"},
                        {"moescope info model.gguf", "a model's MoE tensors and what it says of its routing"}});
    verb.callback([o] { run_info(*o); });
}

}  // namespace moescope::cli
