#pragma once

#include <cstdint>
#include <vector>

namespace moescope::infer {

// Samples that are computed together: several that share one ubatch as separate sequences, or one that is longer than it.
using packed_group = std::vector<uint32_t>;  // indices of samples, in the order of their sequences

// Packs samples of the given lengths into groups of at most n_ubatch tokens and n_seq samples: first fit, longest first
// (equal lengths by index), so that it depends on the lengths alone. A sample longer than n_ubatch is a group of its own.
// Samples of length 0 are left out.
std::vector<packed_group> pack(const std::vector<uint32_t> & n_tokens, uint32_t n_ubatch, uint32_t n_seq);

}  // namespace moescope::infer
