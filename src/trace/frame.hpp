#pragma once

// The records inside chunks, decoded and checked. All throw moescope::error with the offset in the file.

#include <cstdint>
#include <vector>

#include "core/routing.hpp"
#include "trace/counts.hpp"
#include "trace/decode.hpp"
#include "trace/format.hpp"

namespace moescope::trace {

// value_bytes gets 4 (f32) or 2 (f16) for each block.
graph_layout read_layout(decoder & d, std::vector<uint32_t> & value_bytes);

access_list read_access(decoder & d);

expert_counts read_counts(decoder & d, const counts_header & h, const graph_layout & layout);

// Points the views of `u` into the decoder's bytes; half-precision columns are widened into `floats`.
// Guarantees to every reader of the result: ids < n_expert, row_token in [-1, n_tokens).
void read_frame_body(decoder & d, const frame_header & h, const graph_layout & layout,
                     const std::vector<uint32_t> & value_bytes, routed_ubatch & u, std::vector<block_rows> & blocks,
                     std::vector<float> & floats);

}  // namespace moescope::trace
