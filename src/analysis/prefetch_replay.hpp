#pragma once

// The simulation behind analysis/prefetch.hpp.

#include <cstdint>
#include <memory>
#include <vector>

#include "analysis/prefetch.hpp"
#include "analysis/tools/fetch_line.hpp"

namespace moescope::analysis {

// An LRU cache per block, and which experts it holds.
class held_experts {
public:
    held_experts(uint32_t slots, const cache_counts & counted);

    bool access(size_t block, uint32_t id);  // whether it was there
    bool holds(size_t block, uint32_t id) const { return held_[block][id]; }

private:
    bool                                     keeps_;  // it has any slots
    std::vector<std::unique_ptr<cache_pool>> pools_;  // [block]
    std::vector<std::vector<bool>>           held_;   // [block][expert]
};

class prefetch::replay {
public:
    replay(const prefetch_plan & plan, const cache_counts & counted, uint64_t units);

    void start_half();
    void ubatch(const routed_ubatch & u, const forecaster & seen, uint32_t unit);
    void add_to(prefetch_result & r) const;

private:
    struct line {  // one score
        prefetch_score score;
        size_t         cache = 0;  // index into caches_
        fetch_line     fetches;
    };

    // A block's turn in the ubatch at hand.
    struct turn {
        size_t                                          index  = 0;  // in u.blocks
        size_t                                          block  = 0;  // of counted_
        uint64_t                                        number = 0;
        std::vector<uint32_t>                           needed;
        std::array<std::vector<uint32_t>, n_foresights> foreseen;  // of all rows, in turn by rank
    };

    void list_lines();
    void find_turns(const routed_ubatch & u, const forecaster & seen);
    void merge_rows(const routed_ubatch & u, const forecaster & seen, turn & t) const;
    void foresee(line & l, const turn & t);
    void play(const turn & t, uint32_t unit);

    double slice_time(const line & l, size_t block) const { return l.score.slice_time * weight_[block]; }

    prefetch_plan                      plan_;
    const cache_counts &               counted_;
    uint64_t                           units_, next_turn_ = 0;
    block_table<cache_counts::block>   blocks_;  // maps layouts to the numbers of `counted_`
    std::vector<double>                weight_;  // [block] bytes of a slice over the mean
    double                             mean_bytes_ = 0;
    std::vector<held_experts>          caches_;  // [slots]
    std::vector<uint64_t>              misses_;  // [slots]
    std::vector<line>                  lines_;
    std::vector<turn>                  turns_;
    std::vector<std::vector<uint32_t>> missing_;  // [slots] at the turn at hand
    std::vector<fetch_line::fetch>     fetches_;
};

}  // namespace moescope::analysis
