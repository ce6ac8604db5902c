#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/routing.hpp"
#include "core/ubatch_buffer.hpp"
#include "trace/decode.hpp"
#include "trace/source.hpp"

namespace moescope::trace {

// What a trace says about its program's memory: the events in the order in which they happened, and the tokens that were
// taken back.
class memory_log {
public:
    void read(decoder & d);  // a chunk; throws error where it is damaged

    uint64_t                                                 taken_back() const { return n_taken_back_; }
    const std::array<trace_info::removed_text, n_removals> & removed() const { return removed_; }

    // Leaves the tokens that were taken back, and their rows, out of the trace's ubatch of this number. False where nothing is
    // left. The views are good until `kept` changes.
    bool leave_out_of(routed_ubatch & u, uint64_t number, ubatch_buffer & kept) const;
    // The events between number `told`, which counts on, and the ubatch of this number.
    span<const memory_event> until(uint64_t ubatch, size_t & told) const;

private:
    void add(memory_event e);

    std::vector<memory_event>                           events_;
    std::unordered_map<uint64_t, std::vector<uint32_t>> taken_back_;  // ubatch -> tokens in it, in order
    uint64_t                                            n_taken_back_ = 0;
    std::array<trace_info::removed_text, n_removals>    removed_      = {};
};

}  // namespace moescope::trace
