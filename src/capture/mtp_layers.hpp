#pragma once

#include <cstdint>

#include "core/routing.hpp"

namespace moescope::capture {

// Which layers of a model are multi-token-prediction blocks (docs/capture.md, trap 11).
struct mtp_layers {
    uint32_t first = 0;  // il of the first; 0: there are none, or it is not known

    uint32_t flag_of(int32_t il) const {
        return first > 0 && il >= static_cast<int32_t>(first) ? block_layout::mtp : 0U;
    }
};

}  // namespace moescope::capture
