#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/random_stream.hpp"

namespace moescope::analysis {

// Which of a pool's expert slices stay in fast memory. Slices are numbers below n_slice; n_slot of them fit.
enum class cache_policy { lru, lfu, fixed, random, optimum };

const char * to_string(cache_policy p);  // "LRU", "LFU", "static", "random", "Belady"

// One pool under one policy that needs no knowledge of the future.
class cache_pool {
public:
    virtual ~cache_pool() = default;
    // One access. Returns whether the slice was there; afterwards it is, unless the policy passes it by.
    virtual bool access(uint32_t slice) = 0;
};

std::unique_ptr<cache_pool> make_lru(uint32_t n_slot);
// Evicts the slice with the fewest accesses so far, of these the least recently used. Counts outlive eviction.
std::unique_ptr<cache_pool> make_lfu(uint32_t n_slot);
// Evicts any slice with the same probability.
std::unique_ptr<cache_pool> make_random(uint32_t n_slot, uint64_t seed);
// Holds the n_slot slices of the highest count for good; nothing else ever enters.
std::unique_ptr<cache_pool> make_fixed(uint32_t n_slot, const std::vector<uint64_t> & count);

// Belady's optimum (1966) for a known future, where a slice may be passed by instead of evicting a better one, so that no
// policy has more hits on slices that were accessed before. Writes a byte per access: 1 hit, 0 miss.
// Memory: 5 bytes per access and 4 per slice.
std::vector<uint8_t> simulate_optimum(const std::vector<uint32_t> & accesses, uint32_t n_slice, uint32_t n_slot);

}  // namespace moescope::analysis
