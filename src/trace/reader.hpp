#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/routing.hpp"
#include "trace/chunks.hpp"
#include "trace/counts.hpp"

namespace moescope::trace {

// What a trace says about itself.
struct trace_info {
    std::string path;              // as opened, of the first part
    std::string program;           // that ran
    std::string writer_version;    // of moescope
    int64_t     pid             = 0;
    uint32_t    stream          = 1;
    uint64_t    started_unix_ns = 0;
    std::string captured;          // the capture list that was asked for
    bool        counts_only     = false;

    uint32_t    n_parts         = 1;
    uint64_t    bytes           = 0;   // of all parts
    bool        ended           = false;   // the program came to its end; false: killed, or still running
    std::string end_reason;
    uint64_t    run_ns          = 0;   // 0 when not ended
    uint64_t    capture_ns      = 0;
    std::vector<std::string> notes;

    uint64_t    lost_bytes      = 0;   // at the end of a file that was cut; not part of anything read
    uint64_t    lost_offset     = 0;
};

// Reads a trace (all its parts as one) in order, in place from the mapped file, in bounded memory.
//
//     trace_reader r("x.moetrace");
//     for (routed_ubatch u; r.next(u);) { … }
//
// A trace that was cut reads up to its last whole chunk; info().lost_bytes says what is missing. A damaged one (a hash
// that does not fit, a length that cannot be) throws moescope::error naming file and offset: nothing after the damage is
// handed out.
class trace_reader {
public:
    explicit trace_reader(const std::string & path);

    const trace_info & info() const { return info_; }
    const model_info & model() const { return model_; }
    // All layouts of the trace. Most traces have one or two (the last layer may differ between prefill and decode).
    const std::vector<graph_layout> & layouts() const { return layouts_; }
    // Every (layer, block) of any layout, by layer and block, with the union of their columns.
    graph_layout blocks() const;
    const std::vector<access_list> & access_lists() const { return access_lists_; }

    // The token's text as the tokenizer renders it, or null where the trace does not know it.
    const std::string * piece(int32_t token) const;

    // The next ubatch; false at the end. The views in it live until the next call.
    bool next(routed_ubatch & u);
    void rewind();

    // For a trace that is still being written: looks for more and returns whether next() has something new.
    bool refresh();

    // Selections per expert over the whole trace (from its counts where it holds no rows). Reads it through;
    // the position of next() stays.
    expert_counts counts() const;

private:
    struct part {
        explicit part(const std::string & path) : list(path) {}
        chunk_list            list;
        size_t                parsed = 0;        // chunks whose small contents are known
        std::vector<uint32_t> layout_number;     // of this part -> index into layouts_
        std::vector<uint32_t> access_number;     // of this part -> 1 + index into access_lists_
        std::vector<uint32_t> layouts_known;     // chunk index -> how many layouts came before (rows chunks)
    };
    struct position {
        size_t   part  = 0;
        size_t   chunk = 0;
        uint64_t byte  = 0;        // inside the chunk's payload
        bool     checked = false;  // the chunk's hash fits
    };

    void open_parts();
    void parse_new_chunks(part & p);
    void parse_small(part & p, const chunk_place & c);
    void parse_head(const text_pairs & pairs);
    void parse_model(const text_pairs & pairs);
    void parse_end(const text_pairs & pairs);
    bool next_at(position & at, routed_ubatch & u, std::vector<block_rows> & blocks, std::vector<float> & floats) const;
    void read_frame(const part & p, const chunk_place & c, position & at, routed_ubatch & u,
                    std::vector<block_rows> & blocks, std::vector<float> & floats) const;

    std::vector<std::unique_ptr<part>>       parts_;
    trace_info                               info_;
    uint64_t                                 trace_id_ = 0;
    model_info                               model_;
    std::vector<graph_layout>                layouts_;
    std::vector<std::vector<uint32_t>>       value_bytes_;   // parallel to layouts_: 4 or 2 per block
    std::vector<access_list>                 access_lists_;
    std::unordered_map<int32_t, std::string> pieces_;
    expert_counts                            stored_counts_; // of a counts-only trace

    position                                 at_;
    std::vector<block_rows>                  blocks_;        // what next() hands out
    std::vector<float>                       floats_;        // half-precision columns, widened
};

}  // namespace moescope::trace
