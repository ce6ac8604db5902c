#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "analysis/cache.hpp"
#include "analysis/tools/forecaster.hpp"
#include "analysis/tools/interval.hpp"
#include "analysis/tools/model_sizes.hpp"

namespace moescope::analysis {

// How much of what rows select was among the first m experts of a list: recall@m = Σ |selected ∩ first m| / Σ |selected|,
// for m = k, 2k, 3k. Rows for which there is no list do not count.
struct recall_sums {
    static constexpr size_t n_m = forecaster::reach;

    uint64_t                             rows = 0;
    std::array<std::vector<double>, n_m> found;     // [m / k - 1][unit]
    std::vector<double>                  selected;  // [unit]

    double   recall(size_t m) const;
    interval range(size_t m) const { return linear_ratio(found[m], selected); }  // 95 %
};

struct block_recall {
    explicit block_recall(const block_layout & l) : layout(l) {}
    block_layout                          layout;
    std::array<recall_sums, n_foresights> by;
    double                                chance(size_t m) const;  // of (m + 1) k experts drawn at random
};

// What is foreseen in a simulation.
struct prefetcher {
    enum class kind : uint8_t { none, foreseen, oracle };  // oracle: knows what the next layer selects

    kind      how  = kind::none;
    foresight from = foresight::previous;  // where foreseen

    bool operator==(const prefetcher & o) const { return how == o.how && (how != kind::foreseen || from == o.from); }
};
const char * to_string(const prefetcher & p);  // "none", "oracle", or the foresight's name

struct prefetch_plan {
    std::vector<uint32_t> slots;        // of an LRU cache, per layer
    std::vector<double>   slice_times;  // of fetching a slice of mean size, in times of a layer
    uint32_t              ahead = 0;    // experts of a row's list that are fetched; 0: k
    expert_sizes          sizes;        // of which the blocks' ratios count; may be empty: all alike
};

// One simulation. Times are in times of a layer.
struct prefetch_score {
    prefetcher          by;
    uint32_t            slots      = 0;
    double              slice_time = 0;
    std::vector<double> unit_stall;                // [unit] Σ of the time that layers waited
    double ahead = 0, in_vain = 0, on_demand = 0;  // transfers: ahead of their layer, of these in vain, waited for

    double stall() const;
};

struct prefetch_result {
    std::vector<block_recall>             blocks;  // by layer and block
    std::array<recall_sums, n_foresights> all;
    uint64_t                              own_rows = 0;        // whose own input was given to the router
    double                                own      = unknown;  // recall@k of that: 1 where the router is understood
    std::vector<prefetch_score>           scores;       // by slots, slice time, then none, the foresights, oracle
    std::vector<double>                   unit_tokens;  // [unit] computed tokens
    std::vector<uint64_t>                 misses;       // [slots of the plan] reads that the cache does not hold
    uint64_t                              tokens = 0, ubatches = 0, visits = 0;  // visits: of ubatches to layers
    uint64_t                              units               = 0;
    bool                                  units_are_sequences = false;
    double                                mean_slice_bytes    = 0;

    const prefetch_score * find(const prefetcher & by, uint32_t slots, double slice_time) const;
};

// The share of the stall without prefetching that `by` hides, with its 95 % interval over the units.
struct hidden_stall {
    double   share = unknown;
    interval range;
};
hidden_stall hidden_by(const prefetch_score & by, const prefetch_score & none);

// How well experts can be foreseen, and what that would hide of the time that layers wait for them.
//
// The recall of a row rests on what is known before its layer begins; lists that are learned come from the half of the trace
// that the row is not in. The simulation plays every ubatch layer by layer on one fetch_line per score. An LRU cache per
// layer starts empty at the beginning of each half, and holds what was read; what is fetched ahead lies beside it until its
// layer begins. At the beginning of a layer the next one's experts are foreseen (the one after that with router2), at the
// last layer those of the next ubatch's first. What the cache holds is not fetched.
class prefetch final : public routing_sink {
public:
    // All but the plan must outlive this. Without slots nothing is simulated.
    prefetch(const prefetch_plan & plan, const cache_counts & counted, const foresight_lessons & lessons,
             foreseen_router & router);
    ~prefetch() override;

    void            ubatch(const routed_ubatch & u) override;
    prefetch_result result();  // after the last ubatch

private:
    class replay;
    void add_recall(const routed_ubatch & u, uint32_t unit);

    const cache_counts &      counted_;
    forecaster                forecaster_;
    sequence_tracker          tracker_;
    interval_units            units_;
    prefetch_result           result_;
    block_table<block_recall> blocks_;
    double                    own_found_ = 0, own_selected_ = 0;
    std::vector<uint32_t>     ids_;
    std::unique_ptr<replay>   replay_;
};

}  // namespace moescope::analysis
