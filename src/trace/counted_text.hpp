#pragma once

#include <cstdint>
#include <vector>

#include "core/expert_counts.hpp"
#include "core/ubatch_buffer.hpp"

namespace moescope::trace {

// The counts of a stream without what its program takes back. Ubatches are counted when they come; the latest that may hold
// drafts are kept until it is known, as many as any program computes meanwhile.
class counted_text {
public:
    void add(const routed_ubatch & u);
    void take_back(const memory_event & e);

    const expert_counts & counts() const { return counts_; }

private:
    static constexpr uint64_t n_kept = 64;

    struct kept_ubatch {
        uint64_t      number = UINT64_MAX;
        ubatch_buffer tokens;
    };
    expert_counts            counts_;
    uint64_t                 n_ubatches_ = 0;
    std::vector<kept_ubatch> kept_{n_kept};  // by number % n_kept
};

}  // namespace moescope::trace
