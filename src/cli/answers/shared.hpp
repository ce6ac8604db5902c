#pragma once

// What the kinds of `moescope analyze` share. Each kind has a file of its own here, answers/<kind>.cpp: it declares its
// options, asks its analysis and puts the numbers into words. answers/kinds.cpp lists them.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "analysis/tools/row_filter.hpp"
#include "analysis/tools/unknown.hpp"
#include "cli/terminal/answer.hpp"
#include "trace/source.hpp"

namespace CLI {
class App;  // its header is heavy, and only the files that parse need it
}

namespace moescope::cli {

struct analyze_options {
    std::vector<std::string> traces;
    std::string              layers;  // "20-24,30"
    std::string              phase;   // "prefill", "decode", empty: both
    size_t                   top          = 10;
    bool                     with_removed = false;  // count tokens that the program took back, too
    answer_options           answer;
};

// Adds the subcommand of a kind with the options that all kinds have. It takes min to max traces (max 0: any number). `run`
// makes the answer; it may add to the inputs that the output must not be (answer.output.inputs).
CLI::App * add_analysis(CLI::App & analyze, const std::string & name, const std::string & what, int min_traces,
                        int max_traces, std::function<answer(analyze_options &)> run);

answer answer_frequency(const analyze_options & o, bool phases);
// The tables of `analyze frequency` with what `stats` says of the whole.
answer answer_stats(const analyze_options & o);
// `stats --access`: what was read of the weights. model: the GGUF, empty for the one that the trace names.
answer answer_access(const std::string & trace, const std::string & model, size_t top);

// usage_error where the source has MoE layers, but --layers names none of them.
void require_layers(const trace::trace_source & source, const analyze_options & o);
void require_layers(const graph_layout & blocks, const std::string & path, const analyze_options & o);

// `stats --requests`: each request of a server, or prompt of a run.
answer answer_requests(const analyze_options & o);

// Reads a source once through the row filter of the options, with progress on stderr.
void feed(trace::trace_source & source, const analyze_options & o, std::initializer_list<routing_sink *> sinks);

// usage_error where --layers or --phase are given of what has no rows to choose from.
void refuse_row_options(const analyze_options & o);

analysis::row_choice choice_of(const analyze_options & o);  // usage_error for bad --layers
// The first two columns of tables by MoE block. The second is shown where a layer has more than one.
inline const table_column layer_column = {"layer", "layer", shown::integer};
inline const table_column block_column = {"block", "", shown::integer};
inline cell               layer_cell(const block_layout & l) {
                  return int64_t{l.layer};
}
inline cell block_cell(const block_layout & l) {
    return int64_t{l.block};
}
inline cell whole(uint64_t n) {
    return static_cast<int64_t>(n);
}
cell cell_if(bool known, uint64_t n);  // n, or nothing to say

std::vector<uint32_t> distinct(const std::vector<uint32_t> & numbers);  // each once, in their order
void                  show_blocks(answer & a);  // gives the column its title where it says anything

std::string block_name(const block_layout & l);  // "12", or "12.1" for a second block

// Notes that belong to every answer from this source: cut files, counts alone, what the source itself says.
std::vector<std::string> source_notes(const trace::trace_source & source);

// "no gate inputs in this trace: record with --capture gate-input", thrown where no block has the column.
void require_column(const trace::trace_source & source, column column);
// Thrown where the source has counts alone.
void require_rows(const trace::trace_source & source);

// What every kind says of a trace without a row.
inline constexpr const char * nothing_selected = "The trace is empty: no expert was selected.";

// Opens a trace as the options say.
std::unique_ptr<trace::trace_source> open_trace(const analyze_options & o, const std::string & path);

// Opens the first trace, which must have rows, and reads it once through `sink`. The answer gets its kind and notes.
// check: of the chosen blocks, before anything is read.
std::unique_ptr<trace::trace_source> read_rows(const analyze_options & o, const char * kind, routing_sink & sink,
                                               answer &                                          a,
                                               const std::function<void(const graph_layout &)> & check = {});

}  // namespace moescope::cli
