#include "cli/answers/shared.hpp"

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/tools/prompt_labels.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "logs/open.hpp"

namespace moescope::cli {

namespace {

// "0 to 5", "1 to 3, 7": stretches without a gap.
std::string layers_of(const graph_layout & blocks) {
    std::string text;
    for (size_t i = 0; i < blocks.size();) {
        size_t last = i;
        while (last + 1 < blocks.size() && blocks[last + 1].layer <= blocks[last].layer + 1) {
            last += 1;
        }
        text += (text.empty() ? "" : ", ") + std::to_string(blocks[i].layer);
        text += blocks[last].layer > blocks[i].layer ? fmt::format(" to {}", blocks[last].layer) : "";
        i = last + 1;
    }
    return text;
}

}  // namespace

CLI::App * add_analysis(CLI::App & analyze, const std::string & name, const std::string & what, int min_traces,
                        int max_traces, std::function<answer(analyze_options &)> run) {
    auto   o    = std::make_shared<analyze_options>();
    auto * kind = analyze.add_subcommand(name, what);
    kind->add_option("T", o->traces, "traces (.moetrace), or logs of other tools")
        ->required()
        ->expected(min_traces, max_traces == 0 ? 1 << 20 : max_traces)
        ->type_name("");
    kind->add_option("--layers", o->layers, "only these layers, e.g. 20-24 or 0-3,20")->type_name("LIST");
    kind->add_option("--phase", o->phase, "only prefilled or only decoded tokens")
        ->check(CLI::IsMember({"prefill", "decode"}));
    kind->add_flag("--with-removed", o->with_removed, "count drafts that were rejected, too");
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

void require_layers(const trace::trace_source & source, const analyze_options & o) {
    require_layers(source.blocks(), source.info().path, o);
}

void require_layers(const graph_layout & blocks, const std::string & path, const analyze_options & o) {
    const layer_filter wanted(o.layers);
    const bool         any = std::any_of(blocks.begin(), blocks.end(), [&](auto & b) { return wanted.has(b.layer); });
    if (any || blocks.empty()) {
        return;
    }
    throw usage_error("none of its MoE layers (" + layers_of(blocks) + ") is in --layers " + o.layers)
        .in(path)
        .fix("choose among them");
}

void feed(trace::trace_source & source, const analyze_options & o, std::initializer_list<routing_sink *> sinks) {
    require_layers(source, o);
    progress bar("reading", 0, "tokens");
    analysis::read_rows(source, choice_of(o), sinks, [&](const trace::amount_read & read) {
        if (read.ubatches % 64 == 0) {  // asking for the time costs as much as a small ubatch
            bar.update(read.tokens);
        }
        return true;
    });
}

void refuse_row_options(const analyze_options & o) {
    if (!o.layers.empty() || !o.phase.empty()) {
        throw usage_error("--layers and --phase choose rows, and a profile has none: only sums");
    }
}

analysis::row_choice choice_of(const analyze_options & o) {
    analysis::row_choice choice;
    choice.layers = layer_filter(o.layers);
    if (!o.phase.empty()) {
        choice.only = o.phase == "decode" ? phase::decode : phase::prefill;
    }
    return choice;
}

std::vector<uint32_t> distinct(const std::vector<uint32_t> & numbers) {
    std::vector<uint32_t> once;
    for (const uint32_t n : numbers) {
        if (std::find(once.begin(), once.end(), n) == once.end()) {
            once.push_back(n);
        }
    }
    return once;
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

std::vector<std::string> source_notes(const trace::trace_source & source) {
    const trace::trace_info & info = source.info();
    std::vector<std::string>  notes;
    for (const std::string & n : analysis::without_prompt_labels(info.notes)) {
        notes.push_back(printable(n));
    }
    if (info.taken_back > 0 && !info.taken_back_included) {
        notes.push_back(fmt::format("{} not counted: drafts that were rejected (--with-removed counts them)",
                                    counted(info.taken_back, "token")));
    }
    if (info.lost_bytes > 0) {
        notes.push_back(fmt::format("{} was cut: {} at its end could not be read", printable(info.path),
                                    human_bytes(info.lost_bytes)));
    }
    return notes;
}

std::unique_ptr<trace::trace_source> open_trace(const analyze_options & o, const std::string & path) {
    auto source = logs::open_source(path);
    source->include_taken_back(o.with_removed);
    return source;
}

std::unique_ptr<trace::trace_source> read_rows(const analyze_options & o, const char * kind, routing_sink & sink,
                                               answer & a, const std::function<void(const graph_layout &)> & check) {
    auto source = open_trace(o, o.traces.front());
    require_rows(*source);
    if (check) {
        graph_layout       blocks = source->blocks();
        const layer_filter layers = choice_of(o).layers;
        blocks.erase(std::remove_if(blocks.begin(), blocks.end(), [&](auto & b) { return !layers.has(b.layer); }),
                     blocks.end());
        check(blocks);
    }
    feed(*source, o, {&sink});
    a.kind  = kind;
    a.notes = source_notes(*source);
    return source;
}

void require_rows(const trace::trace_source & source) {
    if (source.info().counts_only) {
        throw error("this trace holds only counts, no rows").in(source.info().path).fix("record without --counts-only");
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

}  // namespace moescope::cli
