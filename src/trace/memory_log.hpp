#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/routing.hpp"
#include "core/ubatch_buffer.hpp"
#include "trace/chunks.hpp"
#include "trace/source.hpp"

namespace moescope::trace {

// Appends a file's memory events from a place on: those in chunks whose headers lie before `end`, up to the first that happened
// after the ubatch of this number. The place moves behind them. False where an event is left for a later ubatch. Only for chunks
// that memory_log has read.
bool take_events_before(const chunk_list & list, uint64_t end, uint64_t ubatch, position::event_place & at,
                        std::vector<memory_event> & events);

// What a trace's memory events come to: the tokens that were taken back, and how much text was removed. Holds nothing of the
// events themselves, of which a server has some for each request.
class memory_log {
public:
    // The memory chunks of a run of rows from header `at` on, which moves to the run's end. Throws error where one is damaged.
    void read_on(const chunk_list & list, const chunk_run & run, uint64_t & at);

    uint64_t                                                 taken_back() const { return n_taken_back_; }
    const std::array<trace_info::removed_text, n_removals> & removed() const { return removed_; }

    // Leaves the tokens that were taken back, and their rows, out of the trace's ubatch of this number. False where nothing is
    // left. The views are good until `kept` changes.
    bool leave_out_of(routed_ubatch & u, uint64_t number, ubatch_buffer & kept) const;

private:
    void add(const memory_event & e);

    std::unordered_map<uint64_t, std::vector<uint32_t>> taken_back_;  // ubatch -> tokens in it, in order
    uint64_t                                            n_taken_back_ = 0;
    std::array<trace_info::removed_text, n_removals>    removed_      = {};
};

}  // namespace moescope::trace
