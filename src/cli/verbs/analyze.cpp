#include "cli/answers/shared.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/text.hpp"
#include "logs/open.hpp"

#include <algorithm>
#include <functional>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/tools/prompt_labels.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"

namespace moescope::cli {

namespace {

// The subcommand of a kind with the options that all kinds have. It takes min to max traces (max 0: any number).
CLI::App * add_kind(CLI::App & analyze, const std::string & name, const std::string & what, int min_traces,
                    int max_traces, std::function<answer(analyze_options &)> run) {
    auto   o    = std::make_shared<analyze_options>();
    auto * kind = analyze.add_subcommand(name, what);
    kind->add_option("trace", o->traces, "traces (.moetrace), or logs that moescope reads")
        ->required()
        ->expected(min_traces, max_traces == 0 ? 1 << 20 : max_traces)
        ->type_name("T");
    kind->add_option("--layers", o->layers, "only these layers, e.g. 20-24 or 0-3,20")->type_name("LIST");
    kind->add_option("--phase", o->phase, "only rows of prefilled or of decoded tokens")
        ->check(CLI::IsMember({"prefill", "decode"}));
    kind->add_option("--top", o->top, "how many rows a ranking shows")->capture_default_str()->type_name("N");
    add_answer_options(*kind, o->answer);
    kind->callback([o, run] {
        o->answer.output.inputs = o->traces;
        check_output(o->answer.output);
        answer a = run(*o);
        show_blocks(a);
        print_answer(a, o->answer);
    });
    return kind;
}

void add_frequency(CLI::App & analyze) {
    auto phases = std::make_shared<bool>(false);
    add_kind(analyze, "frequency", "how often each expert is selected; also from an imatrix GGUF", 1, 0,
             [phases](const analyze_options & o) { return answer_frequency(o, *phases); })
        ->add_flag("--phases", *phases, "prefilled and decoded tokens apart, too");
}

void add_gate_drift(CLI::App & analyze) {
    auto all = std::make_shared<bool>(false), values = std::make_shared<bool>(false);
    auto kind = add_kind(analyze, "gate-drift", "how the router's input changes from layer to layer", 1, 1,
                         [=](const analyze_options & o) { return answer_gate_drift(o, *all, *values); });
    kind->add_flag("--all", *all, "every row, not decoded tokens alone");
    kind->add_flag("--values", *values, "a table 'values' of every token and layer pair, too");
}

void add_coactivation(CLI::App & analyze) {
    auto all = std::make_shared<bool>(false);
    add_kind(analyze, "coactivation", "which experts work together, within a layer and from one to the next", 1, 1,
             [=](const analyze_options & o) { return answer_coactivation(o, *all); })
        ->add_flag("--all-pairs", *all, "a table 'all' of every pair, too");
}

void add_specialization(CLI::App & analyze) {
    auto jsonl = std::make_shared<std::string>(), key = std::make_shared<std::string>("domain");
    auto kind = add_kind(analyze, "specialization",
                         "do domains use different experts? One trace each, or one trace of `run --label-key`", 1, 0,
                         [=](analyze_options & o) {
                             o.answer.output.inputs.push_back(*jsonl);
                             return answer_specialization(o, *jsonl, *key);
                         });
    kind->add_option("--jsonl", *jsonl, "for traces without labels: line i of this file labels sequence i")
        ->type_name("FILE");
    kind->add_option("--label-key", *key, "its field that holds the label")->capture_default_str()->type_name("KEY");
}

void add_vocabulary(CLI::App & analyze) {
    auto least = std::make_shared<uint64_t>(10);
    add_kind(analyze, "vocabulary", "which tokens an expert serves", 1, 1,
             [=](const analyze_options & o) { return answer_vocabulary(o, *least); })
        ->add_option("--min", *least, "leave out token ids that occur less often")
        ->capture_default_str()
        ->type_name("N");
}

void add_temporal(CLI::App & analyze) {
    add_kind(analyze, "temporal", "how long a sequence stays with its experts", 1, 1, answer_temporal);
}

void add_stability(CLI::App & analyze) {
    add_kind(analyze, "stability", "several runs of the same tokens: do they route alike?", 2, 0, answer_stability);
}

void add_compare(CLI::App & analyze) {
    add_kind(analyze, "compare", "two traces: quantisations, backends, fine-tunes, pruned against full", 2, 2,
             answer_compare);
}

void add_cache(CLI::App & analyze) {
    auto c    = std::make_shared<cache_options>();
    auto kind = add_kind(analyze, "cache", "how many expert reads a cache would hold: LRU, LFU, static, random, Belady",
                         1, 1, [=](analyze_options & o) {
                             o.answer.output.inputs.push_back(c->model);
                             return answer_cache(o, *c);
                         });
    auto * slots = kind->add_option("--slots", c->slots, "experts per layer that fit, e.g. 8,16,32")
                       ->delimiter(',')
                       ->type_name("LIST");
    kind->add_option("--bytes", c->bytes, "memory for the slots of all layers, e.g. 8G; needs --model")
        ->excludes(slots)
        ->type_name("BYTES");
    kind->add_option("--model", c->model, "the GGUF that ran: how large an expert is")->type_name("MODEL");
    kind->add_option("--bandwidth", c->bandwidth, "bytes per second from where missed experts come, e.g. 25G")
        ->type_name("BYTES");
    kind->add_flag("--global", c->global, "one pool for all layers instead of one for each");
    kind->add_flag("--all", c->all, "every ubatch, not those of decoded tokens alone");
    kind->add_flag("--belady", c->belady, "Belady's optimum whatever memory it needs");
}

void add_placement(CLI::App & analyze) {
    auto p = std::make_shared<placement_options>();
    auto kind =
        add_kind(analyze, "placement", "which layers' experts should have the GPU's memory, as options for llama.cpp",
                 1, 1, [=](analyze_options & o) {
                     o.answer.output.inputs.push_back(p->model);
                     return answer_placement(o, *p);
                 });
    kind->add_option("--model", p->model, "the GGUF that ran")->required()->type_name("MODEL");
    kind->add_option("--vram", p->vram, "the GPU's memory, e.g. 12G")->required()->type_name("BYTES");
    kind->add_option("-c,--ctx-size", p->n_ctx, "context that the KV cache is to hold")
        ->capture_default_str()
        ->type_name("N");
}

}  // namespace

void feed(trace::trace_source & source, const analyze_options & o, std::initializer_list<routing_sink *> sinks) {
    progress bar("reading", 0, "tokens");
    analysis::read_rows(source, choice_of(o), sinks, [&](const trace::amount_read & read) {
        if (read.ubatches % 64 == 0) {  // asking for the time costs as much as a small ubatch
            bar.update(read.tokens);
        }
        return true;
    });
}

analysis::row_choice choice_of(const analyze_options & o) {
    analysis::row_choice choice;
    choice.layers = layer_filter(o.layers);
    if (!o.phase.empty()) {
        choice.only = o.phase == "decode" ? phase::decode : phase::prefill;
    }
    return choice;
}

cell cell_if(bool known, uint64_t n) {
    if (!known) {
        return {};
    }
    return static_cast<int64_t>(n);
}

void show_blocks(answer & a) {
    for (table & t : a.tables) {
        for (size_t c = 0; c < t.columns.size(); ++c) {
            const bool any =
                t.columns[c].key == block_column.key && std::any_of(t.rows.begin(), t.rows.end(), [&](auto & r) {
                    const auto * block = std::get_if<int64_t>(&r[c]);
                    return block != nullptr && *block != 0;
                });
            if (any) {
                t.columns[c].title = "block";
            }
        }
    }
}

std::string block_name(const block_layout & l) {
    return l.block == 0 ? std::to_string(l.layer) : fmt::format("{}.{}", l.layer, l.block);
}

std::string share_text(double share, const analysis::interval & range) {
    return fmt::format("{:.1f} % ({:.1f} to {:.1f})", 100 * share, 100 * range.low, 100 * range.high);
}

std::vector<std::string> source_notes(const trace::trace_source & source) {
    const trace::trace_info & info = source.info();
    std::vector<std::string>  notes;
    for (const std::string & n : info.notes) {
        if (!analysis::is_prompt_label(n)) {
            notes.push_back(printable(n));
        }
    }
    if (info.lost_bytes > 0) {
        notes.push_back(fmt::format("{} was cut: {} at its end could not be read", printable(info.path),
                                    human_bytes(info.lost_bytes)));
    }
    return notes;
}

std::unique_ptr<trace::trace_source> read_rows(const analyze_options & o, const char * kind, routing_sink & sink,
                                               answer & a) {
    auto source = logs::open_source(o.traces.front());
    require_rows(*source);
    feed(*source, o, {&sink});
    a.kind  = kind;
    a.notes = source_notes(*source);
    return source;
}

void require_rows(const trace::trace_source & source) {
    if (source.info().counts_only) {
        throw error("this trace holds counts alone, no rows")
            .in(source.info().path)
            .fix("record without --counts-only");
    }
}

void require_column(const trace::trace_source & source, column column) {
    require_rows(source);
    const graph_layout blocks = source.blocks();
    for (const block_layout & b : blocks) {
        if (b.columns.has(column)) {
            return;
        }
    }
    if (blocks.empty()) {
        throw error("the trace is empty: no MoE layer was recorded").in(source.info().path);
    }
    const std::string item = to_string(column);
    std::string       name = item == "gate-input" ? "gate input" : item;
    if (name.back() != 's') {
        name += 's';
    }
    throw error("no " + name + " in this trace").in(source.info().path).fix("record with --capture " + item);
}

void add_analyze(CLI::App & app) {
    auto * verb = app.add_subcommand("analyze", "answers from a trace: what is hot, what repeats, what can be cached");
    verb->require_subcommand(1);
    for (auto add : {add_frequency, add_gate_drift, add_coactivation, add_specialization, add_vocabulary, add_temporal,
                     add_stability, add_compare, add_cache, add_placement}) {
        add(*verb);
    }
}

}  // namespace moescope::cli
