#include "evaluate/group_pass.hpp"

#include <algorithm>

namespace moescope::evaluate {

// A batch that asks for the logits of the tokens that count, and what these are to predict.
struct group_pass::batch_rows {
    std::vector<infer::batch_token> tokens;
    std::vector<compared_row>       rows;  // in the order of the logits
};

group_pass::group_pass(paired_models & models, const std::vector<plan> & plans, pass_options options)
    : models_(models),
      plans_(plans),
      options_(std::move(options)) {}

// A sequence's tokens follow each other, over the batches, too.
void group_pass::lay_out(const token_batches & batches) {
    std::vector<std::vector<int32_t>> texts;
    for (const auto & batch : batches) {
        for (const infer::batch_token & t : batch) {
            texts.resize(std::max(texts.size(), static_cast<size_t>(t.seq) + 1));
            texts[static_cast<size_t>(t.seq)].push_back(t.token);
        }
    }
    n_sequences_ = texts.size();
    batches_.clear();
    for (const auto & batch : batches) {
        batch_rows here;
        for (infer::batch_token t : batch) {
            const std::vector<int32_t> & text = texts[static_cast<size_t>(t.seq)];
            const auto                   at   = static_cast<size_t>(t.pos);
            t.logits                          = at >= options_.skip(text.size()) && at + 1 < text.size();
            if (t.logits) {
                here.rows.push_back(
                    {static_cast<uint32_t>(t.seq), static_cast<uint32_t>(at), text[at + 1], nullptr, nullptr});
            }
            here.tokens.push_back(t);
        }
        batches_.push_back(std::move(here));
    }
}

infer::decoded group_pass::compute(const token_batches & batches, group_sums & sums) {
    lay_out(batches);
    size_t n_rows = 0;
    for (const batch_rows & b : batches_) {
        n_rows += b.rows.size();
    }
    kept_.clear();
    const bool fits = n_rows * models_.n_vocab() * sizeof(float) <= max_kept;
    full_kept_      = batches_.size() == 1 || (plans_.size() > 1 && fits);
    if (full_kept_) {
        if (const infer::decoded how = keep_full(); how != infer::decoded::ok) {
            return how;
        }
    }
    while (sums.plans.size() < plans_.size()) {
        if (options_.stop()) {
            return infer::decoded::aborted;
        }
        std::vector<damage_sums> of_plan(n_sequences_);
        const infer::decoded     how = one_plan(plans_[sums.plans.size()], of_plan);
        if (how != infer::decoded::ok) {
            return how;
        }
        sums.plans.push_back(std::move(of_plan));
        options_.done(sums.plans.size());
    }
    return infer::decoded::ok;
}

// A single batch's logits stay where they are until the full model computes again.
infer::decoded group_pass::keep_full() {
    models_.full().forget();
    for (const batch_rows & b : batches_) {
        if (const infer::decoded how = models_.full().decode(b.tokens); how != infer::decoded::ok) {
            return how;
        }
        if (batches_.size() > 1) {
            const float * logits = models_.full().logits();
            kept_.emplace_back(logits, logits + b.rows.size() * models_.n_vocab());
        }
    }
    return infer::decoded::ok;
}

infer::decoded group_pass::one_plan(const plan & p, std::vector<damage_sums> & sums) {
    if (p.kind != plan_kind::against) {
        models_.wear(p.mask);
    }
    models_.changed().forget();
    if (!full_kept_) {
        models_.full().forget();
    }
    for (size_t b = 0; b < batches_.size(); ++b) {
        infer::decoded how = full_kept_ ? infer::decoded::ok : models_.full().decode(batches_[b].tokens);
        how                = how == infer::decoded::ok ? models_.changed().decode(batches_[b].tokens) : how;
        if (how != infer::decoded::ok) {
            return how;
        }
        if (!batches_[b].rows.empty()) {
            compare(batches_[b], kept_.empty() ? models_.full().logits() : kept_[b].data(), sums);
        }
    }
    const auto displaced = count_displaced(models_.full().selections(), models_.changed().selections(), n_sequences_);
    for (size_t s = 0; s < n_sequences_; ++s) {
        sums[s].selections += double(displaced[s].selections);
        sums[s].displaced += double(displaced[s].displaced);
    }
    return infer::decoded::ok;
}

void group_pass::compare(const batch_rows & batch, const float * full, std::vector<damage_sums> & sums) {
    const size_t          n_vocab = models_.n_vocab();
    const float *         changed = models_.changed().logits();
    std::vector<row_pair> pairs;
    for (size_t r = 0; r < batch.rows.size(); ++r) {
        pairs.push_back({full + r * n_vocab, changed + r * n_vocab, batch.rows[r].target});
    }
    const std::vector<row_score> scores = compare_rows(pairs, n_vocab, options_.n_threads);
    for (size_t r = 0; r < scores.size(); ++r) {
        sums[batch.rows[r].sequence].add(scores[r]);
        if (options_.on_row) {
            compared_row row = batch.rows[r];
            row.full         = pairs[r].full;
            row.changed      = pairs[r].changed;
            options_.on_row(row);
        }
    }
}

}  // namespace moescope::evaluate
