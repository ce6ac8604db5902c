#pragma once

// The whole contract between the injected library and whoever starts a program with it. Names do not change; unknown
// values leave the recorder off and say so. Unset, empty or "0" is off.

namespace moescope::recorder::environment {

// ---- for users, with moescope record or with a bare LD_PRELOAD ------------------------------------------------------
inline constexpr char output[]       = "MOESCOPE_OUTPUT";               // trace file; %p becomes the process id
inline constexpr char capture[]      = "MOESCOPE_CAPTURE";              // capture list, default ids,weights
inline constexpr char layers[]       = "MOESCOPE_LAYERS";               // e.g. 20-24
inline constexpr char no_text[]      = "MOESCOPE_NO_TEXT";              // 1: no texts of tokens in the trace
inline constexpr char no_tokens[]    = "MOESCOPE_NO_TOKENS";            // 1: neither their texts nor their ids
inline constexpr char mask[]         = "MOESCOPE_MASK";                 // e.g. "omit 5:15,3:28-30; bias 4:0=-2"
inline constexpr char stats[]        = "LLAMA_EXPERT_TRACE_STATS";      // counts on stderr at exit
inline constexpr char names[]        = "LLAMA_EXPERT_TRACE_NAMES";      // a line per selection and matrix on stderr
inline constexpr char per_layer[]    = "LLAMA_EXPERT_TRACE_PER_LAYER";  // counts by layer as well
inline constexpr char stats_output[] = "LLAMA_EXPERT_TRACE_OUTPUT";     // counts as JSON into this file
inline constexpr char log_csv[]      = "LLAMA_MOE_LOG";                 // every row as CSV into this file

// ---- read by moescope record itself ---------------------------------------------------------------------------------
inline constexpr char recorder_library[] =
    "MOESCOPE_RECORDER";  // the library to load, instead of the one beside moescope

// ---- set by moescope record ---------------------------------------------------------------------------------------
inline constexpr char counts_only[]    = "MOESCOPE_COUNTS_ONLY";  // 1: cumulative counts instead of rows
inline constexpr char max_size[]       = "MOESCOPE_MAX_SIZE";     // bytes per part of the trace
inline constexpr char half_precision[] = "MOESCOPE_F16";          // 1: columns in half precision
inline constexpr char nop[]            = "MOESCOPE_NOP";          // 1: interpose, record nothing
inline constexpr char only_child_of[]  = "MOESCOPE_PARENT";  // pid of moescope: record in its direct child only …
inline constexpr char follow[]         = "MOESCOPE_FOLLOW";  // … or (1) in others too, under names with their pid
inline constexpr char status[]         = "MOESCOPE_STATUS";  // file that gets the lines below, appended

// Lines of the status file: a word, a blank, the rest.
inline constexpr char status_trace[]    = "trace";     // path of a stream's trace, when it is created
inline constexpr char status_stopped[]  = "stopped";   // why recording ended before the program did
inline constexpr char status_unmasked[] = "unmasked";  // why something was computed without the mask asked for
inline constexpr char status_graphs[]   = "graphs";    // at exit, one of:
inline constexpr char graphs_none[]     = "none";
inline constexpr char graphs_dense[]    = "dense";   // no MoE blocks in them
inline constexpr char graphs_others[]   = "others";  // MoE blocks, but none in MOESCOPE_LAYERS
inline constexpr char graphs_moe[]      = "moe";

}  // namespace moescope::recorder::environment
