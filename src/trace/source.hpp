#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/expert_counts.hpp"
#include "core/routing.hpp"

namespace moescope::trace {

// What a trace says about itself. A foreign log leaves empty or 0 what it does not know.
struct trace_info {
    std::string path;                 // as opened, of the first part
    std::string format = "moetrace";  // or the foreign format's name
    std::string program;              // that ran
    std::string writer_version;       // of moescope
    int64_t     pid             = 0;
    uint32_t    stream          = 1;
    uint64_t    started_unix_ns = 0;
    std::string captured;             // the capture list that was asked for
    std::string mask;                 // under which it ran (expert_mask::to_text); empty: none
    std::string left_out;             // what was not to be kept: "text" of tokens, or "text,tokens"; empty: nothing
    bool        counts_only = false;  // no rows: next() gives nothing, stored_counts() everything

    uint32_t                 first_part = 1;  // larger when the file that was opened is a later part of a trace
    uint32_t                 n_parts    = 1;
    uint64_t                 bytes      = 0;      // of all parts
    bool                     ended      = false;  // the program came to its end; false: killed, or still running
    std::string              end_reason;
    uint64_t                 run_ns     = 0;  // 0 when not ended
    uint64_t                 capture_ns = 0;
    uint64_t                 compute_ns = 0;  // of run_ns, not idle (trace_end); 0: not known
    std::vector<std::string> notes;

    // Tokens that were computed and are no text (memory_event::taken_back): next() leaves them out unless they are included.
    uint64_t taken_back          = 0;
    bool     taken_back_included = false;
    // Text that the program removed again, by memory_event::removal: how often, and how many positions. Never left out.
    struct removed_text {
        uint64_t times = 0, positions = 0;
    };
    std::array<removed_text, n_removals> removed = {};

    uint64_t    lost_bytes  = 0;  // at the end of a file that was cut; not part of anything read
    uint64_t    lost_offset = 0;
    std::string unread_part;  // the trace goes on in this file, which is missing or cannot be joined: not read
};

// A place between two ubatches of a trace. What it holds is its reader's business.
struct position {
    size_t   part     = 0;
    size_t   run      = 0;      // of the part's chunks
    uint64_t chunk    = 0;      // where the chunk's header is; 0: the run's first
    uint64_t byte     = 0;      // inside the chunk's payload
    bool     checked  = false;  // the chunk's hash fits
    uint64_t released = 0;      // bytes of the part that need not stay in memory
    uint64_t ubatch   = 0;      // how many ubatches of the part come before

    // The memory event that next() hands out next.
    struct event_place {
        size_t   part  = 0;
        uint64_t chunk = 0;  // a chunk's header, at or before it; 0: the part's first
        uint64_t byte  = 0;  // inside the chunk's payload
    } event;
};

// Routed ubatches in the order in which they ran, whatever file they come from: a trace or a foreign log.
//
//     const auto source = open_source("x.moetrace");
//     for (routed_ubatch u; source->next(u);) { … }
//
// A source reads in bounded memory. What a foreign log does not say is absent from its columns or -1; a log that names
// experts without their number has layouts whose n_expert is the largest id + 1, and says so in info().notes.
class trace_source {
public:
    virtual ~trace_source() = default;

    virtual const trace_info & info() const  = 0;
    virtual const model_info & model() const = 0;
    // Every (layer, block) of any graph of the source, by layer and block, with the union of their columns. Complete
    // before the first next(). A block has the same n_expert in every graph, and no id of its rows reaches it: whoever
    // counts experts may rely on both.
    virtual graph_layout blocks() const = 0;

    // The token's text as the tokenizer renders it, or null where the source does not know it.
    virtual const std::string * piece(int32_t /*token*/) const { return nullptr; }
    // Numbered from 1 in routed_ubatch::access.
    virtual const std::vector<access_list> & access_lists() const {
        static const std::vector<access_list> none;
        return none;
    }
    // The counts of a source without rows (info().counts_only), else null.
    virtual const expert_counts * stored_counts() const { return nullptr; }

    // The next ubatch; false at the end. The views in it live until the next call. Throws error where the file is damaged.
    virtual bool next(routed_ubatch & u) = 0;
    virtual void rewind()                = 0;
    // Whether next() hands out tokens that the program took back (info().taken_back), too; false at the beginning. An ubatch of
    // which nothing is left is passed over.
    virtual void include_taken_back(bool) {}

    // Looks for what was appended to the file since it was last looked at. Returns whether next() has something new; a
    // source that does not grow never has.
    virtual bool refresh() { return false; }

    // Where next() goes on, for a later seek(): also of another source of the same file, also when it has grown since.
    // Nothing where the source can be read from its beginning only.
    virtual std::optional<position> tell() const { return {}; }
    // To the beginning (a position {}), or to a place that tell() gave. The source must have refreshed as far as the one
    // that gave it.
    virtual void seek(const position & /*to*/) { rewind(); }
};

}  // namespace moescope::trace
