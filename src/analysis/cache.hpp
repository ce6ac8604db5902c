#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "analysis/tools/bootstrap.hpp"
#include "analysis/tools/cache_policy.hpp"
#include "analysis/tools/interval_units.hpp"
#include "analysis/tools/model_sizes.hpp"
#include "analysis/tools/sequences.hpp"
#include "core/block_table.hpp"
#include "core/routing.hpp"

namespace moescope::analysis {

// What one policy with one number of slots did with an access.
struct cache_step {
    cache_policy         policy  = cache_policy::lru;
    uint32_t             slots   = 0;  // per layer
    bool                 hit     = false;
    const block_layout * layout  = nullptr;  // of the slice that it drove out; null: none
    uint32_t             evicted = 0;        // which expert of that block
};

// One access, as every policy that needs no future met it.
struct cache_access {
    uint64_t                        ubatch = 0;  // number among those that select anything
    const block_layout *            layout = nullptr;
    uint32_t                        expert = 0;
    const std::vector<cache_step> & steps;  // by slots, then policy
};

struct cache_plan {
    std::vector<uint32_t> slots;            // per layer; a global pool has slots × blocks
    bool                  global  = false;  // one pool for all blocks instead of one for each
    bool                  optimum = true;   // Belady's, which must hold all accesses in memory
    expert_sizes          sizes;            // may be empty

    std::function<void(const cache_access &)> on_access;  // where set, hears of every access
};

// One policy with one number of slots.
struct cache_score {
    cache_policy        policy       = cache_policy::lru;
    uint32_t            slots        = 0;  // per layer
    uint64_t            accesses     = 0;
    uint64_t            cold         = 0;      // accesses to slices not accessed before: no policy can hold them
    uint64_t            hits         = 0;      // of the other accesses
    uint64_t            cold_hits    = 0;      // cold accesses that static holds from its other half; not in hits
    double              bytes_missed = 0;      // of all misses, cold ones included; 0 without sizes
    std::vector<double> unit_hits, unit_warm;  // per sequence (or stretch): hits, and accesses that are not cold

    double   hit_rate() const { return accesses > cold ? double(hits) / double(accesses - cold) : unknown; }
    interval hit_rate_interval() const { return bootstrap_ratio(unit_hits, unit_warm); }
};

struct cache_result {
    std::vector<cache_score> scores;                   // by slots, then policy
    uint64_t                 tokens              = 0;  // computed in the measured ubatches
    uint64_t                 ubatches            = 0;
    uint64_t                 n_slices            = 0;  // that exist
    uint64_t                 units               = 0;  // sequences, or stretches of 64 ubatches
    bool                     units_are_sequences = false;
    double                   mean_slice_bytes    = 0;
    double                   chance(uint32_t slots, uint32_t n_expert) const { return double(slots) / n_expert; }
};

// Simulates caches of expert slices. One access is one ubatch that reads a slice, however many rows select it; within an
// ubatch and block slices are read by rising id, as ggml does.
//
// Three passes over the same ubatches: how many there are, what each half uses (cache_counts), and the simulation. The
// halves are by time; every policy starts empty at the beginning of each, and static holds what the other half used most,
// so that nothing is measured on what it was fitted to.
class cache_counts final : public routing_sink {
public:
    // half_at: the number of ubatches in the first half; the first pass does not know it yet.
    explicit cache_counts(uint64_t half_at = UINT64_MAX) : half_at_(half_at) {}

    void ubatch(const routed_ubatch & u) override;

    struct block {
        explicit block(const block_layout & l) : layout(l) {
            count[0].resize(l.n_expert);
            count[1].resize(l.n_expert);
        }
        block_layout          layout;
        std::vector<uint64_t> count[2];  // [n_expert] accesses in each half
    };
    uint64_t                   half_at() const { return half_at_; }
    uint64_t                   ubatches() const { return ubatches_; }  // that select anything
    uint64_t                   accesses() const { return accesses_; }
    uint64_t                   n_sequences() const { return tracker_.n_sequences(); }
    const block_table<block> & blocks() const { return blocks_; }

private:
    uint64_t              half_at_, ubatches_ = 0, accesses_ = 0;
    sequence_tracker      tracker_;
    block_table<block>    blocks_;
    std::vector<uint32_t> ids_;
};

class cache final : public routing_sink {
public:
    cache(const cache_plan & plan, const cache_counts & counted);  // counted: the second pass; must outlive this
    ~cache() override;

    void         ubatch(const routed_ubatch & u) override;
    cache_result result();  // after the last ubatch

    // What Belady's optimum keeps in memory for so many accesses.
    static uint64_t optimum_bytes(uint64_t accesses) { return 12 * accesses; }

private:
    class simulation;
    std::unique_ptr<simulation> s_;
};

}  // namespace moescope::analysis
