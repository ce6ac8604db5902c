#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/random_stream.hpp"

namespace moescope::analysis {

// Which of a pool's expert slices stay in fast memory. Slices are numbers below n_slice; n_slot of them fit.
enum class cache_policy { lru, lfu, lfru, decay, least_stale, fixed, random, optimum };

const char * to_string(cache_policy p);  // "LRU", "LFU", "LFRU", "decay", "least-stale", "static", "random", "Belady"
const char * source_of(cache_policy p);  // where the policy is described: a paper, or the code that people run

inline constexpr uint32_t no_slice = UINT32_MAX;

// One pool under one policy that needs no knowledge of the future.
class cache_pool {
public:
    virtual ~cache_pool() = default;
    // Before the accesses of a ubatch: policies that age what they hold count ubatches.
    virtual void next_pass() {}
    // One access. Returns whether the slice was there; afterwards it is, unless the policy passes it by.
    virtual bool access(uint32_t slice) = 0;
    // The slice that the last access drove out; no_slice where it drove out none.
    uint32_t evicted() const { return evicted_; }

protected:
    uint32_t evicted_ = no_slice;
};

std::unique_ptr<cache_pool> make_lru(uint32_t n_slot);
// Evicts the slice with the fewest accesses so far, of these the least recently used. Counts outlive eviction.
std::unique_ptr<cache_pool> make_lfu(uint32_t n_slot);
// Evicts the slice with the lowest count / (1 + ubatches since its last access), of these the least recently used. Counts
// outlive eviction. Looks at every slot for each miss.
std::unique_ptr<cache_pool> make_lfru(uint32_t n_slot);
// Evicts the slice with the lowest sum of decay_per_pass^age over its accesses, age in ubatches, of these the least recently
// used: LRFU (Lee et al. 2001, Eq. 1) with F(x) = (1/2)^(lambda x).
std::unique_ptr<cache_pool> make_decay(uint32_t n_slot);
inline constexpr double     decay_per_pass = 0.95;
// Evicts slices that this ubatch has not used before those that it has; of these the ones of the layer whose turn comes
// again last, counted from the layer at hand, and of these the least recently used. In a pool for one layer this is LRU.
// layer_of: [n_slice] running number of each slice's layer, in the order in which a ubatch computes them.
std::unique_ptr<cache_pool> make_least_stale(uint32_t n_slot, std::vector<uint32_t> layer_of);
// Evicts any slice with the same probability.
std::unique_ptr<cache_pool> make_random(uint32_t n_slot, uint64_t seed);
// Holds the n_slot slices of the highest count for good; nothing else ever enters.
std::unique_ptr<cache_pool> make_fixed(uint32_t n_slot, const std::vector<uint64_t> & count);

// Belady's optimum (1966) for a known future, where a slice may be passed by instead of evicting a better one, so that no
// policy has more hits on slices that were accessed before. Writes a byte per access: 1 hit, 0 miss.
// Memory: 5 bytes per access and 4 per slice.
std::vector<uint8_t> simulate_optimum(const std::vector<uint32_t> & accesses, uint32_t n_slice, uint32_t n_slot);

}  // namespace moescope::analysis
