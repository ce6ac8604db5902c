#pragma once

// The tables of `analyze frequency`.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "analysis/frequency.hpp"
#include "cli/terminal/answer.hpp"

namespace moescope::cli {

// Below this part of the balanced share an expert counts as hardly used.
inline constexpr double hardly_used = 0.1;

// An expert of a block; the block lives in the result that it was taken from.
struct expert_place {
    const analysis::block_frequency * block;
    uint32_t                          expert;
    double                            vs_balance() const { return block->share(expert) * block->layout.n_expert; }
};

// All experts of the blocks with selections, by their share against the balanced one.
std::vector<expert_place> ranked_experts(const analysis::frequency_result & r, bool falling);

table frequency_layers(const analysis::frequency_result & r);
table router_by_layer(const analysis::frequency_result & r);  // of the router's probabilities, where captured
table experts_by_phase(const analysis::frequency_result & r);
table experts_by_id(const analysis::frequency_result & r, size_t top);
// The most and the least used, the hardly used, all; top: how many a ranking shows.
void add_expert_tables(answer & a, const analysis::frequency_result & r, size_t top);

}  // namespace moescope::cli
