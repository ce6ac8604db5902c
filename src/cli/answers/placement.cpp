// moescope analyze placement: which layers' experts should have the GPU's memory.

#include <algorithm>
#include <cmath>
#include <set>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/placement.hpp"
#include "analysis/tools/model_sizes.hpp"
#include "cli/answers/same_model.hpp"
#include "cli/answers/shared.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "gguf/model_file.hpp"
#include "gguf/moe_shape.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

struct placement_options {
    std::string model;  // GGUF
    std::string vram;   // bytes, with a suffix
    uint32_t    n_ctx = 4096;
};

// -ot takes a pattern of tensor names; this one is llama.cpp's own for a layer's experts.
std::string override_option(const std::vector<int32_t> & layers) {
    std::string list;
    for (const int32_t il : layers) {
        list += (list.empty() ? "" : "|") + std::to_string(il);
    }
    return fmt::format("-ot \"blk\\.({})\\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU\"", list);
}

// What the GPU has, and how many layers the model has that could go there.
struct gpu_limits {
    uint64_t vram    = 0;  // bytes
    uint32_t n_layer = 0;
};

uint64_t expert_bytes(const model_memory & m) {
    uint64_t bytes = 0;
    for (const model_memory::layer & l : m.layers) {
        bytes += l.bytes;
    }
    return bytes;
}

table memory_table(const model_memory & m, const placement_result & r, uint64_t vram, uint32_t n_ctx) {
    const uint64_t experts = expert_bytes(m);
    table          t{"memory", "The GPU's memory", {{"part", "part"}, {"bytes", "size", shown::bytes}}, {}};
    t.rows = {{std::string("given (--vram)"), whole(vram)},
              {std::string("everything but experts"), whole(m.dense)},
              {fmt::format("KV cache of {} tokens, f16 (estimate)", with_commas(n_ctx)), whole(m.kv)},
              {std::string("compute buffers, 512-token ubatch (estimate)"), whole(m.compute)},
              {std::string("left for experts"), whole(r.budget)},
              {std::string("all experts"), whole(experts)},
              {std::string("experts placed on the GPU"), whole(r.advised.gpu_bytes)}};
    return t;
}

table layers_table(const model_memory & m, const expert_reads & reads, const placement_result & r) {
    table                   t{"layers",
            "Layers: experts read per ubatch, and where they go",
            {{"layer", "layer", shown::integer},
                               {"bytes", "experts", shown::bytes},
                               {"reads_per_ubatch", "read per ubatch", shown::real},
                               {"advised", "advised"},
                               {"naive", "--n-cpu-moe"}},
            {}};
    const std::set<int32_t> cpu(r.advised.on_cpu.begin(), r.advised.on_cpu.end()),
        naive(r.naive.on_cpu.begin(), r.naive.on_cpu.end());
    for (const model_memory::layer & l : m.layers) {
        double n = 0;
        for (size_t b = 0; b < reads.layers().size(); ++b) {
            for (const double x : reads.layers()[b].reads) {
                n += reads.layers()[b].layout.layer == l.il ? x : 0;
            }
        }
        t.rows.push_back({int64_t{l.il}, whole(l.bytes), n / double(reads.ubatches()),
                          std::string(cpu.count(l.il) ? "CPU" : "GPU"),
                          std::string(naive.count(l.il) ? "CPU" : "GPU")});
    }
    return t;
}

table choices_table(const placement_result & r) {
    table             t{"choices",
            "Expert bytes that the CPU reads per token",
            {{"choice", "choice"},
                         {"cpu_bytes_per_token", "read by the CPU", shown::bytes},
                         {"gpu_bytes", "on the GPU", shown::bytes},
                         {"options", ""}},
            {}};
    const std::string naive = fmt::format("-ngl 99 --n-cpu-moe {}", r.n_cpu_moe);
    t.rows.push_back(
        {std::string("advised"), r.advised.cpu_bytes_per_token, whole(r.advised.gpu_bytes),
         r.preferred && !r.advised.on_cpu.empty() ? "-ngl 99 " + override_option(r.advised.on_cpu) : naive});
    t.rows.push_back({std::string("naive"), r.naive.cpu_bytes_per_token, whole(r.naive.gpu_bytes), naive});
    t.n_shown = r.preferred ? SIZE_MAX : 0;  // else both are what the first line says
    return t;
}

// Not even what is no expert fits: fewer layers must go to the GPU. Layers are taken to be of one size, experts aside.
std::string too_small_advice(const model_memory & m, const gpu_limits & limits) {
    const uint64_t    rest = m.dense + m.kv + m.compute;
    const double      each = double(m.dense + m.kv) / double(std::max(1u, limits.n_layer));
    const double      room = limits.vram > m.compute ? double(limits.vram - m.compute) : 0;
    const auto        n    = static_cast<uint32_t>(each > 0 ? room / each : 0);
    const std::string what = n == 0 ? "keep all layers on the CPU, -ngl 0"
                                    : fmt::format("lower -ngl to about {} of {} layers, with --cpu-moe",
                                                  std::min(n, limits.n_layer), limits.n_layer);
    const std::string context =
        m.kv < rest - limits.vram  // shortening it does not help
            ? ""
            : fmt::format(", or lower the context with -c (its cache takes {})", human_bytes(m.kv));
    return fmt::format("Even without any expert, {} are needed, {} more than there are: {}{}.", human_bytes(rest),
                       human_bytes(rest - limits.vram), what, context);
}

void add_headline(answer & a, const placement_result & r, const model_memory & m, const gpu_limits & limits) {
    const std::string naive = fmt::format("-ngl 99 --n-cpu-moe {}", r.n_cpu_moe);
    const std::string missing =
        fmt::format("{} of experts do not fit.", human_bytes(expert_bytes(m) - std::min(expert_bytes(m), r.budget)));
    if (r.all_fits) {
        a.headline.push_back(fmt::format("Everything fits on the GPU, with {} to spare: -ngl 99.",
                                         human_bytes(r.budget - expert_bytes(m))));
    } else if (m.dense + m.kv + m.compute > limits.vram) {
        a.headline.push_back(too_small_advice(m, limits));
    } else if (r.nothing_fits) {
        uint64_t smallest = UINT64_MAX;
        for (const model_memory::layer & l : m.layers) {
            smallest = std::min(smallest, l.bytes);
        }
        a.headline.push_back(fmt::format(
            "No layer's experts fit: -ngl 99 --cpu-moe. {} more, of the GPU or from a smaller context (-c), would hold those "
            "of the first layer.",
            human_bytes(smallest - r.budget)));
    } else if (r.preferred) {
        a.headline.push_back(
            fmt::format("{} Keep the experts of {} of {} layers on the GPU: the CPU then reads {:.1f} % less per token "
                        "than with {} (95 %: {:.1f} to {:.1f}).",
                        missing, r.advised.on_gpu.size(), r.advised.on_gpu.size() + r.advised.on_cpu.size(),
                        100 * r.saving, naive, 100 * r.saving_interval.low, 100 * r.saving_interval.high));
        a.headline.push_back("-ngl 99 " + override_option(r.advised.on_cpu));
    } else {
        a.headline.push_back(fmt::format(
            "{} {}: the trace supports no better choice (another would save {:.2f} %; {}).", missing, naive,
            100 * r.saving,
            std::isnan(r.saving_interval.low)
                ? "the trace is too short for an interval"
                : fmt::format("95 %: {:.2f} to {:.2f}", 100 * r.saving_interval.low, 100 * r.saving_interval.high)));
    }
}

answer answer_placement(const analyze_options & options, const placement_options & p) {
    analyze_options    o      = options;
    const uint64_t     vram   = parse_bytes(p.vram, "--vram");
    const model_memory m      = read_model_memory(p.model, p.n_ctx);
    const auto         source = open_trace(o, o.traces.front());
    require_rows(*source);
    require_fit(*source, read_expert_sizes(p.model), p.model);
    answer a;
    a.kind  = "placement";
    a.notes = source_notes(*source);
    if (o.phase.empty()) {
        o.phase = "decode";
    }
    expert_reads reads;
    feed(*source, o, {&reads});
    if (reads.ubatches() == 0) {
        throw error("no decoded token in this trace")
            .in(o.traces.front())
            .fix("record a run that generates text, or give --phase prefill");
    }
    const placement_result r = advise_placement(m, reads, vram);
    add_headline(a, r, m, {vram, gguf::read_moe_shape(gguf::model_file(p.model).metadata()).n_layer});
    a.figures = {{"budget_bytes", whole(r.budget)},     {"saving", r.saving},
                 {"saving_low", r.saving_interval.low}, {"saving_high", r.saving_interval.high},
                 {"preferred", int64_t{r.preferred}},   {"n_cpu_moe", whole(r.n_cpu_moe)},
                 {"all_fits", int64_t{r.all_fits}}};
    a.tables  = {choices_table(r), memory_table(m, r, vram, p.n_ctx), layers_table(m, reads, r)};
    a.notes.push_back(
        "a token decoded on its own reads k experts in every layer, whichever they are: layers differ only if "
        "several sequences are decoded together, or in size");
    for (const model_memory::layer & l : m.layers) {
        bool seen = false;
        for (size_t b = 0; b < reads.layers().size(); ++b) {
            seen = seen || reads.layers()[b].layout.layer == l.il;
        }
        if (!seen) {
            a.notes.push_back(fmt::format("layer {} is not in the trace and counts as never read", l.il));
        }
    }
    return a;
}

}  // namespace

void add_placement(CLI::App & analyze) {
    auto p    = std::make_shared<placement_options>();
    auto kind = add_analysis(analyze, "placement", "which layers' experts to keep on the GPU, as options for llama.cpp",
                             1, 1, [=](analyze_options & o) {
                                 o.answer.output.inputs.push_back(p->model);
                                 return answer_placement(o, *p);
                             });
    kind->add_option("--model", p->model, "the GGUF that ran")->required()->type_name("MODEL");
    kind->add_option("--vram", p->vram, "memory of the GPU, e.g. 12G")->required()->type_name("BYTES");
    kind->add_option("-c,--ctx-size", p->n_ctx, "context length that the KV cache must hold")
        ->capture_default_str()
        ->type_name("N");
    add_examples(*kind, {{"moescope analyze placement run.moetrace --model model.gguf --vram 12G",
                          "options for llama.cpp that fit into 12 GB"}});
}

}  // namespace moescope::cli
