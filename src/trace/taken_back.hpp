#pragma once

#include <cstdint>
#include <vector>

#include "core/routing.hpp"
#include "core/ubatch_buffer.hpp"

namespace moescope::trace {

enum class unknown_rows { stay, go };  // rows whose token is not known

// The ubatch without these tokens (places in it, in order) and their rows. The views are good until `kept` changes.
routed_ubatch without_tokens(const routed_ubatch & u, const std::vector<uint32_t> & tokens, ubatch_buffer & kept,
                             unknown_rows unknown = unknown_rows::stay);

}  // namespace moescope::trace
