// moescope map: where every tensor and every expert lies in a model file.

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/help/examples.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "gguf/map_format.hpp"
#include "gguf/memory_map.hpp"

namespace moescope::cli {

namespace {

struct map_options {
    std::string    model;
    std::string    format   = "csv";
    bool           no_split = false;
    bool           absolute = false;
    bool           check    = false;
    bool           totals   = false;
    bool           json     = false;
    output_options output;
};

std::string totals_table(const gguf::memory_map & map) {
    const gguf::map_totals & t    = map.totals;
    const auto               line = [&](const std::string & what, uint64_t bytes) {
        return fmt::format("{:<34} {:>18} B {:>12} {:>6.2f} %\n", what, with_commas(bytes), human_bytes(bytes),
                           t.bytes > 0 ? 100.0 * double(bytes) / double(t.bytes) : 0.0);
    };
    std::string text = fmt::format("{} tensors, {} expert matrices, {} layers\n\n", with_commas(t.n_tensors),
                                   with_commas(t.n_experts), map.shape.n_layer);
    text += line("all", t.bytes) + line("experts", t.bytes_experts) + line("the rest", t.bytes - t.bytes_experts);
    if (t.bytes_per_token > 0) {
        text += line("read per decoded token", t.bytes_per_token);
    }
    text += "\nby component\n";
    for (const auto & [component, bytes] : t.by_component) {
        text += line("  " + printable(component), bytes);
    }
    text += "\nby layer\n";
    for (const auto & [layer, bytes] : t.by_layer) {
        text += line(layer < 0 ? "  outside the layers"
                               : fmt::format("  layer {}{}", layer, map.shape.is_mtp(layer) ? " (MTP)" : ""),
                     bytes);
    }
    return text;
}

void check_map(const map_options & o) {
    const std::vector<std::string> problems = gguf::check_model_layout(o.model);
    std::string                    text;
    if (o.json) {
        text = to_text(nlohmann::json{{"problems", problems}});
    } else {
        for (const std::string & problem : problems) {
            text += printable(problem) + "\n";
        }
    }
    write_text(o.output, text);
    if (!problems.empty()) {
        throw error(fmt::format("{} problem{} in the layout", problems.size(), problems.size() == 1 ? "" : "s"))
            .in(o.model);
    }
    const gguf::memory_map map = gguf::build_memory_map(gguf::model_file(o.model));  // now ggml's reader has agreed too
    note(fmt::format("{}: {} tensors in {} entries, no overlap, all inside the file", o.model, map.totals.n_tensors,
                     map.entries.size()));
}

void run_map(map_options & o) {
    o.output.inputs = {o.model};
    check_output(o.output);
    if (o.check) {
        check_map(o);
        return;
    }
    const gguf::model_file model(o.model);
    const gguf::memory_map map  = gguf::build_memory_map(model, !o.no_split);
    const bool             json = o.json || o.format == "json";
    write_text(o.output, o.totals ? (json ? gguf::map_totals_to_json(map) : totals_table(map))
                         : json   ? gguf::map_to_json(map, model)
                                  : gguf::map_to_csv(map, model, o.absolute));
}

}  // namespace

void add_map(CLI::App & app) {
    const auto o    = std::make_shared<map_options>();
    CLI::App & verb = *app.add_subcommand("map", "where every tensor and every expert lies in a GGUF file");
    verb.add_option("MODEL", o->model, "GGUF file, or the first part of a split one")->required()->type_name("");
    verb.add_flag("--no-split-experts", o->no_split, "one entry per tensor rather than one per expert");
    verb.add_option("-f,--format", o->format, "csv or json")
        ->check(CLI::IsMember({"csv", "json"}))
        ->capture_default_str();
    verb.add_flag("--absolute", o->absolute, "CSV offsets from the file's start, not from its data section's");
    verb.add_flag("--totals", o->totals, "only the totals: bytes by component, by layer, and per decoded token");
    verb.add_flag("--check", o->check,
                  "look for overlaps, data outside the file, wrong alignment; exit 1 if there are any");
    verb.add_flag("--json", o->json, "the same as -f json");
    add_output_options(verb, o->output, "write here instead of to stdout");
    add_examples(verb, {{"moescope map model.gguf -f json -o memory-map.json", "where each expert lies in the file"}});
    verb.callback([o] { run_map(*o); });
}

}  // namespace moescope::cli
