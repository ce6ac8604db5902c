#pragma once

// The records inside chunks, decoded and checked. All throw moescope::error with the offset in the file.

#include <cstdint>
#include <vector>

#include "core/expert_counts.hpp"
#include "core/routing.hpp"
#include "core/ubatch_buffer.hpp"
#include "trace/decode.hpp"
#include "trace/format.hpp"

namespace moescope::trace {

// value_bytes gets 4 (f32) or 2 (f16) for each block.
graph_layout read_layout(decoder & d, std::vector<uint32_t> & value_bytes);

access_list read_access(decoder & d);

model_info read_model(const text_pairs & pairs);

expert_counts read_counts(decoder & d, const counts_header & h, const graph_layout & layout);

// What the views of a frame need besides the file's bytes; reused from frame to frame.
struct frame_views {
    std::vector<block_rows>   blocks;
    std::vector<float>        floats;  // half-precision columns, widened
    ubatch_buffer             kept;    // what is left where tokens were taken back
    std::vector<memory_event> events;  // before the ubatch

    // The frame that the blocks point into. In another of the same layout, size and rows everything lies where it lies
    // here: tokens decoded one by one are such frames.
    const uint8_t *      body     = nullptr;  // null: nothing can be said of another
    const block_layout * layout   = nullptr;
    uint32_t             size     = 0;
    uint32_t             n_tokens = 0;
    std::vector<int32_t> rows;  // [n_blocks] as stored
};

// Points the views of `u` into the decoder's bytes; half-precision columns are widened.
// Guarantees to every reader of the result: ids < n_expert, row_token in [-1, n_tokens).
// layout must stay where it is for as long as `views` is used.
void read_frame_body(decoder & d, const frame_header & h, const graph_layout & layout,
                     const std::vector<uint32_t> & value_bytes, routed_ubatch & u, frame_views & views);

}  // namespace moescope::trace
