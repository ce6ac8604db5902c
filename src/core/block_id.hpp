#pragma once

#include <cstdint>

namespace moescope {

// Names an MoE block of a model, whatever graph it is part of. Most layers have one block; GroveMoE's have two
// (trap 8 of docs/capture.md).
struct block_id {
    int32_t layer = 0;  // il
    int32_t block = 0;  // 0, or 1 for the second block under the same layer

    // The name alone, of what is a block_id and more.
    const block_id & id() const { return *this; }
};

// By layer, then block.
inline bool operator==(const block_id & a, const block_id & b) {
    return a.layer == b.layer && a.block == b.block;
}
inline bool operator!=(const block_id & a, const block_id & b) {
    return !(a == b);
}
inline bool operator<(const block_id & a, const block_id & b) {
    return a.layer != b.layer ? a.layer < b.layer : a.block < b.block;
}

}  // namespace moescope
