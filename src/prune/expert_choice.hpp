#pragma once

#include <cstdint>
#include <vector>

#include "gguf/moe_shape.hpp"

namespace moescope::prune {

// The n_keep of a layer's experts with the highest scores, as old ids in ascending order. Where the router selects
// groups first, the same number in each group; where experts share a chunk expert (GroveMoE), whole chunks, by the sum
// of their scores. Ties go to the lower id. `is_protected` (one flag per expert) overrides the scores.
// n_keep must satisfy check_expert_count. Throws error when more are protected than can stay.
std::vector<int32_t> choose_experts(const gguf::moe_shape & shape, uint32_t n_keep, const std::vector<double> & scores,
                                    const std::vector<bool> & is_protected);

// Throws error when llama.cpp cannot run the model with n_keep experts, or would run another one.
void check_expert_count(const gguf::moe_shape & shape, uint32_t n_keep);

// Throws error when the ids of a layer are not a choice that choose_experts could have made.
void check_chosen_ids(const gguf::moe_shape & shape, const std::vector<int32_t> & ids, int layer);

// The counts that check_expert_count accepts are multiples of this (groups, chunks).
uint32_t expert_count_step(const gguf::moe_shape & shape);

}  // namespace moescope::prune
