#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/expert_counts.hpp"
#include "core/routing.hpp"
#include "trace/chunks.hpp"
#include "trace/frame.hpp"
#include "trace/memory_log.hpp"
#include "trace/source.hpp"

namespace moescope::trace {

// Reads a trace (all its parts as one) in order, in place from the mapped file, in bounded memory.
//
//     trace_reader r("x.moetrace");
//     for (routed_ubatch u; r.next(u);) { … }
//
// A trace that was cut reads up to its last whole chunk; info().lost_bytes says what is missing. A damaged one (a hash
// that does not fit, a length that cannot be) throws moescope::error naming file and offset: nothing after the damage is
// handed out.
class trace_reader final : public trace_source {
public:
    explicit trace_reader(const std::string & path);

    const trace_info &               info() const override { return info_; }
    const model_info &               model() const override { return model_; }
    graph_layout                     blocks() const override;
    const std::vector<access_list> & access_lists() const override { return access_lists_; }
    const std::string *              piece(int32_t token) const override;
    const expert_counts *            stored_counts() const override;

    bool                    next(routed_ubatch & u) override;
    void                    rewind() override;
    bool                    refresh() override;
    std::optional<position> tell() const override { return at_; }
    void                    seek(const position & to) override;
    void                    include_taken_back(bool include) override { info_.taken_back_included = include; }

    // The files it is read from, in order.
    std::vector<std::string> part_paths() const;

    // Selections per expert over the whole trace (from its counts where it holds no rows). Reads it through;
    // the position of next() stays.
    expert_counts counts() const;

private:
    struct part {
        explicit part(chunk_list chunks) : list(std::move(chunks)) {}
        chunk_list            list;
        size_t                parsed      = 0;   // runs whose small contents are known
        uint64_t              memory_read = 0;   // up to here memory chunks are known
        std::vector<uint32_t> layout_number;     // of this part -> index into layouts_
        std::vector<uint32_t> access_number;     // of this part -> 1 + index into access_lists_
        std::vector<uint32_t> layouts_known;     // run -> how many layouts came before (rows chunks)
        uint64_t              first_ubatch = 0;  // of the trace: how many the earlier parts hold
        std::string           next;              // the name of the part in which the trace goes on
    };

    void open_parts();
    bool open_following_part();
    void parse_new_chunks(part & p);
    void parse_small(part & p, const chunk_place & c);
    void parse_layout(part & p, decoder & d);
    void parse_head(const text_pairs & pairs);
    void parse_end(part & p, const text_pairs & pairs);
    void check_chunk(const part & p, const chunk_place & c, position & at) const;
    bool next_at(position & at, routed_ubatch & u, frame_views & views) const;
    bool next_in_run(const part & p, position & at, routed_ubatch & u, frame_views & views) const;
    void read_frame(const part & p, const chunk_place & c, position & at, routed_ubatch & u, frame_views & views) const;
    void take_events(uint64_t number, position & at, std::vector<memory_event> & events) const;

    std::vector<std::unique_ptr<part>>       parts_;
    trace_info                               info_;
    uint64_t                                 trace_id_    = 0;
    uint32_t                                 part_number_ = 1;  // of the latest part
    model_info                               model_;
    std::vector<graph_layout>                layouts_;      // most traces have one or two
    std::vector<std::vector<uint32_t>>       value_bytes_;  // parallel to layouts_: 4 or 2 per block
    std::map<block_id, uint32_t>             n_expert_;     // of every block of any layout
    std::vector<access_list>                 access_lists_;
    std::unordered_map<int32_t, std::string> pieces_;
    expert_counts                            stored_counts_;  // of a counts-only trace

    memory_log memory_;

    position    at_;
    frame_views views_;  // what next() hands out
};

}  // namespace moescope::trace
