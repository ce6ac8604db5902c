#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "evaluate/damage_sums.hpp"
#include "evaluate/paired_models.hpp"
#include "evaluate/plan.hpp"
#include "infer/engine.hpp"

namespace moescope::evaluate {

using token_batches = std::vector<std::vector<infer::batch_token>>;

// A predicted token whose logits are compared: what --dump-logits writes.
struct compared_row {
    uint32_t      sequence = 0;        // in its group
    uint32_t      position = 0;        // of the token that predicts
    int32_t       target   = 0;        // the token that follows
    const float * full     = nullptr;  // [n_vocab]
    const float * changed  = nullptr;
};

// What one group came to, as far as it was computed.
struct group_sums {
    std::vector<std::vector<damage_sums>> plans;  // [plans done][sequence]
};

struct pass_options {
    size_t                                    n_threads = 1;
    std::function<uint32_t(size_t n)>         skip;    // of a sample of n tokens: those that are context alone
    std::function<void(size_t plans)>         done;    // so many plans of the group are
    std::function<bool()>                     stop;    // asked between plans
    std::function<void(const compared_row &)> on_row;  // may be empty
};

// Computes groups of samples through the full model and through the changed one under every plan.
//
// The full model is computed once for all plans where its logits can be kept: a group of one batch, or of up to max_kept bytes.
// Longer samples are computed anew for each plan, both models in step. So a group of one plan costs two passes, one of n plans
// n + 1, and nothing grows with the text.
class group_pass {
public:
    static constexpr size_t max_kept = size_t{512} << 20;

    group_pass(paired_models & models, const std::vector<plan> & plans, pass_options options);

    // Adds the plans that are not yet in `sums` in their order. Not ok: what is in `sums` then is whole plans.
    infer::decoded compute(const token_batches & batches, group_sums & sums);

private:
    struct batch_rows;

    void           lay_out(const token_batches & batches);
    infer::decoded keep_full();
    infer::decoded one_plan(const plan & p, std::vector<damage_sums> & sums);
    void           compare(const batch_rows & rows, const float * full, std::vector<damage_sums> & sums);

    paired_models &                 models_;
    const std::vector<plan> &       plans_;
    pass_options                    options_;
    std::vector<batch_rows>         batches_;  // of the group at work
    size_t                          n_sequences_ = 0;
    bool                            full_kept_   = false;
    std::vector<std::vector<float>> kept_;  // [batch] logits of the full model, where there are several batches
};

}  // namespace moescope::evaluate
