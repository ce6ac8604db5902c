#pragma once

#include <cstdint>

#include "core/routing.hpp"
#include "trace/encode.hpp"

namespace moescope::trace {

struct frame_form {
    uint32_t layout = 0;      // its number in the file
    bool     f16    = false;  // columns as half precision
    bool     tokens = true;   // with the tokens' ids
};

// Appends the ubatch as a frame. False, with nothing appended, where it is too large for one (4 GiB).
bool encode_frame(encoder & frames, const routed_ubatch & u, const frame_form & form);

void encode_event(encoder & events, const memory_event & e);

// Whether tokens of the ubatch may be taken back before the next one: a sequence decodes several, which are drafts.
bool verifies_drafts(const routed_ubatch & u);

}  // namespace moescope::trace
