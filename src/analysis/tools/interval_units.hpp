#pragma once

#include <cstdint>
#include <vector>

#include "analysis/tools/sequences.hpp"

namespace moescope::analysis {

// What the intervals of figures about ubatches are over: sequences, or stretches of ubatches where there are no two.
struct interval_units {
    static constexpr uint64_t stretch = 64;  // ubatches

    uint64_t n           = 0;
    bool     by_sequence = false;
    interval_units()     = default;
    interval_units(uint64_t n_sequences, uint64_t n_ubatches)
        : n(n_sequences > 1 ? n_sequences : (n_ubatches + stretch - 1) / stretch),
          by_sequence(n_sequences > 1) {}

    // Of a ubatch's first token; what has no sequence counts for the first one.
    uint32_t of(const std::vector<token_place> & places, uint64_t ubatch) const {
        if (!by_sequence) {
            return static_cast<uint32_t>(ubatch / stretch);
        }
        const int64_t sequence = places.empty() ? -1 : places.front().sequence;
        return sequence < 0 ? 0 : static_cast<uint32_t>(sequence);
    }
};

}  // namespace moescope::analysis
