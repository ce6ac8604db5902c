#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "analysis/tools/balance.hpp"
#include "analysis/tools/interval.hpp"
#include "analysis/tools/running_stats.hpp"
#include "core/block_table.hpp"
#include "core/expert_counts.hpp"
#include "core/routing.hpp"

namespace moescope::analysis {

// Which rows: of prefilled tokens, of decoded tokens, or of tokens that the source does not know.
enum class row_kind : uint8_t { prefill = 0, decode = 1, unplaced = 2 };
inline constexpr size_t n_row_kinds = 3;

// One MoE block's selections.
struct block_frequency {
    block_layout                                   layout;     // n_expert_used 0: not known (imatrix)
    std::array<uint64_t, n_row_kinds>              rows = {};  // by row_kind
    std::array<std::vector<uint64_t>, n_row_kinds> count;      // [n_expert] selections, by row_kind; empty where the
                                                               // source has totals alone
    std::vector<uint64_t> total;                               // [n_expert]
    uint64_t              n_rows = 0;
    balance               measured;  // of total
    balance_chance        chance;    // of n_rows random rows

    // Per row of the router's probabilities, scaled to sum to 1; n() = 0 where they were not captured.
    running_stats router_entropy;  // −Σ p ln p / ln E
    running_stats top1_margin;     // largest p minus the second largest

    double share(size_t e) const {  // of the block's selections; balanced: 1 / E
        return measured.selections ? double(total[e]) / double(measured.selections) : unknown;
    }
    interval share_interval(size_t e) const;  // 95 %, rows taken as independent; unknown where k is
};

struct frequency_result {
    std::vector<block_frequency> blocks;  // by layer and block
    std::vector<uint64_t> by_id;  // [largest n_expert] Σ over blocks; ids of different layers are different experts
    uint64_t              tokens = 0, decoded = 0, ubatches = 0;
    uint64_t              invalid_ids = 0;     // ids >= n_expert: a damaged or foreign source; not counted
    uint64_t              bad_probs   = 0;     // rows whose probabilities are negative or not finite; left out
    bool                  has_phases  = true;  // count by row_kind is known

    uint64_t selections() const;
    uint64_t n_experts() const;  // over all blocks
    uint64_t n_dead() const;
};

// Whether the router's probabilities are measured where they were captured; their logarithms cost more than all else.
enum class router_probs { measured, passed_by };

// Counts selections. Cost: about a nanosecond per id.
class frequency final : public routing_sink {
public:
    explicit frequency(router_probs probs = router_probs::measured) : probs_(probs) {}

    void ubatch(const routed_ubatch & u) override;

    frequency_result result() const;
    frequency_result counts() const;  // the result without what chance shows, which must be drawn

    uint64_t tokens() const { return tokens_; }
    uint64_t ubatches() const { return ubatches_; }

private:
    struct block {
        explicit block(const block_layout & l);
        block_layout                      layout;
        std::array<uint64_t, n_row_kinds> rows = {};
        std::array<std::vector<uint64_t>, n_row_kinds>
                      count;  // as long as the id type reaches, so that no id needs a check
        running_stats router_entropy, top1_margin;
    };
    void add_probs(block & b, const block_rows & rows);

    router_probs       probs_;
    block_table<block> blocks_;
    uint64_t           tokens_ = 0, decoded_ = 0, ubatches_ = 0, bad_probs_ = 0;
};

// The same from cumulative counts (a counts-only trace, an imatrix). Blocks whose n_expert_used is 0 have no rows.
frequency_result frequency_of(const expert_counts & counts);
frequency_result counts_of(const expert_counts & counts);  // … as frequency::counts()

}  // namespace moescope::analysis
