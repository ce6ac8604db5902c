#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "analysis/tools/running_stats.hpp"
#include "core/routing.hpp"
#include "gguf/kept_experts.hpp"
#include "trace/source.hpp"

namespace moescope::analysis {

// How two runs route the same tokens, in one block.
struct block_agreement {
    block_layout          layout;                       // of the first run
    running_stats         overlap;                      // per row: |A ∩ B| / k
    uint64_t              same_set = 0;                 // rows with the same experts
    uint64_t              same_top = 0;                 // rows with the same first expert
    std::vector<uint64_t> count_a, count_b;             // selections over the matched rows, in ids of each run
    double                overlap_by_chance = unknown;  // k / E: two balanced random routers
    std::vector<uint32_t> both;              // [n_expert][n_expert] rows in which a selects the first and b the second
    uint64_t              n_shared() const;  // Σ |A ∩ B|: the diagonal of `both`
    // The same if the second run's experts were numbered at random: its mean and variance over all numberings
    // (Hoeffding 1951: Σ both / E, and Σ of the squares of `both`, centred by rows and columns, / (E − 1)).
    double shared_mean() const;
    double shared_variance() const;
    double rank_correlation() const;  // Spearman's, of count_a and count_b
    double distance() const;          // Jensen–Shannon, of count_a and count_b
};

struct agreement_result {
    std::vector<block_agreement> blocks;              // of blocks with the same E and k in both; by layer and block
    uint64_t                     tokens_matched = 0;  // same sequence, position and token id in both
    uint64_t                     tokens_differ  = 0;  // same sequence and position, another token
    uint64_t tokens_after     = 0;      // behind a difference in their sequence: another context, not compared
    uint64_t tokens_unmatched = 0;      // that one run alone has, or whose place is not known
    bool     ids_unknown      = false;  // token ids are not known in one of them: matched by place alone

    // How many standard deviations more the runs share, over all blocks, than with experts numbered at random. Models that
    // are not related number theirs so: this is near 0, whatever the tokens have in common. Unknown without matches.
    double relatedness() const;
};

// Matches the runs token by token, by the order of their sequences and the position in them. Ubatches may be cut
// differently. Reads both sources once, side by side; memory holds the tokens that one run has computed and the other
// not yet. Throws error where these take more than max_waiting bytes (the runs go through their sequences in different
// order).
//
// kept_a, kept_b: of runs of pruned models, so that all ids are those of the model that was never pruned; n_expert and k / E
// are that model's then.
agreement_result measure_agreement(trace::trace_source & a, trace::trace_source & b,
                                   const gguf::kept_experts & kept_a = {}, const gguf::kept_experts & kept_b = {},
                                   size_t max_waiting = 256u << 20);

}  // namespace moescope::analysis
