#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "analysis/interval.hpp"
#include "core/routing.hpp"
#include "trace/source.hpp"

namespace moescope::analysis {

// How two runs route the same tokens, in one block.
struct block_agreement {
    block_layout  layout;           // of the first run
    running_stats overlap;          // per row: |A ∩ B| / k
    uint64_t      same_set = 0;     // rows with the same experts
    uint64_t      same_top = 0;     // rows with the same first expert
    std::vector<uint64_t> count_a, count_b;     // selections over the matched rows, in ids of each run
    double        overlap_by_chance = unknown;  // k / E: two balanced random routers
    double        rank_correlation() const;     // Spearman's, of count_a and count_b
    double        distance() const;             // Jensen–Shannon, of count_a and count_b
};

struct agreement_result {
    std::vector<block_agreement> blocks;     // of blocks with the same E and k in both; by layer and block
    uint64_t tokens_matched   = 0;           // same sequence, position and token id in both
    uint64_t tokens_differ    = 0;           // same sequence and position, another token
    uint64_t tokens_after     = 0;           // behind a difference in their sequence: another context, not compared
    uint64_t tokens_unmatched = 0;           // that one run alone has, or whose place is not known
    bool     ids_unknown      = false;       // token ids are not known in one of them: matched by place alone
};

// Matches the runs token by token, by the order of their sequences and the position in them. Ubatches may be cut
// differently. Reads both sources once, side by side; memory holds the tokens that one run has computed and the other
// not yet. Throws error where these exceed max_waiting tokens (the runs go through their sequences in different order).
agreement_result measure_agreement(trace::trace_source & a, trace::trace_source & b, size_t max_waiting = 2'000'000);

}  // namespace moescope::analysis
