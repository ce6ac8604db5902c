#pragma once

#include <cstdint>
#include <vector>

#include "core/routing.hpp"
#include "core/ubatch_buffer.hpp"

namespace moescope::trace {

// The ubatch without these tokens (places in it, in order) and their rows; rows of unknown tokens stay. The views are good until `kept`
// changes.
routed_ubatch without_tokens(const routed_ubatch & u, const std::vector<uint32_t> & tokens, ubatch_buffer & kept);

}  // namespace moescope::trace
