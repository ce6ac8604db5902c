#include "cli/verbs/profile_rounds.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "gguf/model_file.hpp"
#include "io/path.hpp"
#include "prune/expert_choice.hpp"
#include "prune/plan.hpp"
#include "prune/profile_scores.hpp"

namespace moescope::cli {

namespace {

prune::prune_plan best_plan(const stats::moestats & profile, const std::string & source, const gguf::model_file & model,
                            uint32_t n_keep) {
    const bool           removal = prune::lacks(profile, prune::prune_criterion::removal).empty();
    prune::score_request ask;
    ask.criterion = removal ? prune::prune_criterion::removal : prune::prune_criterion::reap_sum;
    ask.balance   = profile.labels.empty() ? prune::label_balance::rows : prune::label_balance::labels;
    prune::prune_request request;
    request.criterion = ask.criterion;
    request.n_keep    = n_keep;
    request.scores    = prune::scores_of_profile(profile, source, ask);
    return prune::plan_prune(model, request);
}

}  // namespace

uint32_t left_after(const std::string & model, uint32_t n_keep, uint32_t round, uint32_t n_rounds) {
    const gguf::moe_shape shape = gguf::read_moe_shape(gguf::model_file(model).metadata());
    prune::check_expert_count(shape, n_keep);
    const uint32_t gone = (shape.n_expert - n_keep) * round / n_rounds, step = prune::expert_count_step(shape);
    return std::max(n_keep, (shape.n_expert - gone + step - 1) / step * step);
}

expert_mask mask_after(const stats::moestats & profile, const std::string & source, const std::string & model,
                       uint32_t n_keep) {
    const prune::prune_plan plan = best_plan(profile, source, gguf::model_file(model), n_keep);
    expert_mask             mask;
    for (const auto & [il, layer] : plan.layers) {
        for (uint32_t e = 0; e < plan.shape.n_expert; ++e) {
            if (!layer.is_mtp && !std::binary_search(layer.kept.begin(), layer.kept.end(), static_cast<int32_t>(e))) {
                mask.omit(il, static_cast<int32_t>(e));
            }
        }
    }
    return mask;
}

std::string round_path(const std::string & sums, uint32_t round) {
    return fmt::format("{}.round{}.moestats", io::without_suffix(sums, ".moestats"), round);
}

}  // namespace moescope::cli
