#pragma once

#include <memory>

#include "analysis/frequency.hpp"
#include "analysis/temporal.hpp"
#include "analysis/tools/cache_policy.hpp"
#include "core/block_table.hpp"
#include "core/random_stream.hpp"

namespace moescope::analysis {

// What one screen says of any trace, gathered in one pass. Beside the frequencies, means over what all blocks have;
// unknown where the trace does not tell.
struct summary_result {
    frequency_result frequency;

    double overlap_next          = unknown;  // share of experts that a token has in common with the one before
    double overlap_by_popularity = unknown;  // … that any two tokens have
    double lru_hits = unknown;  // an LRU cache of a quarter of each layer's experts over ubatches with decoded
                                // tokens: share of reads that hit, without the first of each slice
    double lru_hits_chance       = unknown;  // … were as many rows to select at random (one draw, repeatable)
    double phase_distance        = unknown;  // Jensen–Shannon distance of prefilled and decoded selections
    double phase_distance_chance = unknown;  // what phases of one routing show (jensen_shannon_by_chance)
};

class summary final : public routing_sink {
public:
    void ubatch(const routed_ubatch & u) override;

    summary_result result() const;

private:
    struct lru_cache {
        explicit lru_cache(uint32_t n_expert);
        void                        read(const std::vector<uint32_t> & ids);
        std::unique_ptr<cache_pool> pool;
        std::vector<bool>           seen;
        uint64_t                    hits = 0, warm = 0;
    };
    struct lru_block {
        explicit lru_block(const block_layout & l);
        void                  draw(const block_rows & rows, std::vector<uint32_t> & ids);
        lru_cache             measured, by_chance;
        std::vector<uint32_t> order;  // a permutation of the experts
        random_stream         random;
    };
    frequency              frequency_;
    temporal               temporal_;
    block_table<lru_block> lru_;
    std::vector<uint32_t>  ids_;
};

// The same from counts alone: frequencies, and nothing of order.
inline summary_result summary_of(const expert_counts & counts) {
    summary_result r;
    r.frequency = frequency_of(counts);
    return r;
}

}  // namespace moescope::analysis
