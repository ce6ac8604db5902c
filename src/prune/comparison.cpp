#include "prune/comparison.hpp"

#include <algorithm>

#include "prune/hope.hpp"

namespace moescope::prune {

namespace {

using stats::saliency_block;

// The layer's experts that stay; null where the plan has no such layer.
const std::vector<int32_t> * kept_in(const prune_plan & plan, int layer) {
    const auto it = plan.layers.find(layer);
    return it == plan.layers.end() ? nullptr : &it->second.kept;
}

bool stays(const std::vector<int32_t> & kept, uint32_t e) {
    return std::binary_search(kept.begin(), kept.end(), static_cast<int32_t>(e));
}

uint32_t n_only_in_first(const prune_plan & a, const prune_plan & b) {
    uint32_t n = 0;
    for (const auto & [il, layer] : a.layers) {
        const std::vector<int32_t> * others = kept_in(b, il);
        n += static_cast<uint32_t>(std::count_if(layer.kept.begin(), layer.kept.end(), [&](int32_t e) {
            return others == nullptr || !stays(*others, static_cast<uint32_t>(e));
        }));
    }
    return n;
}

}  // namespace

plan_measures measure_plan(const stats::moestats & profile, const prune_plan & plan) {
    double gone = 0, all = 0, hope = 0;
    bool   has_removal = true, has_pairs = true;
    for (const saliency_block * b : profile.routed()) {
        const std::vector<int32_t> * kept = kept_in(plan, b->layer);
        if (kept == nullptr) {
            continue;
        }
        has_removal = has_removal && !b->removal.empty();
        has_pairs   = has_pairs && !b->pair_count.empty();
        for (uint32_t e = 0; e < b->removal.size(); ++e) {
            gone += stays(*kept, e) ? 0 : b->removal[e];
            all += b->removal[e];
        }
        hope += b->pair_count.empty() ? 0 : hope_objective(*b).of_plan(*kept);
    }
    plan_measures m;
    m.removal = has_removal && all > 0 ? gone / all : -1;
    m.hope    = has_pairs ? hope : -1;
    return m;
}

std::vector<rival_plan> rival_plans(const gguf::model_file & model, const stats::moestats & profile,
                                    const prune_request & request, const score_request & scores,
                                    const prune_plan & plan) {
    std::vector<rival_plan> rivals;
    for (const prune_criterion c : criteria_of_profiles()) {
        if (c == request.criterion || !lacks(profile, c).empty()) {
            continue;
        }
        score_request ask   = scores;
        ask.criterion       = c;
        ask.balance         = c == prune_criterion::hope ? label_balance::rows : scores.balance;
        ask.n_keep          = plan.n_keep;
        prune_request other = request;
        other.criterion     = c;
        other.n_keep        = plan.n_keep;
        other.keep_ids.clear();
        other.scores           = scores_of_profile(profile, request.scores.source, ask);
        const prune_plan their = plan_prune(model, other);
        rivals.push_back(
            {c, n_only_in_first(their, plan), measure_plan(profile, their), displaced_shares(profile, their)});
    }
    return rivals;
}

std::vector<displaced_share> displaced_shares(const stats::moestats & profile, const prune_plan & plan) {
    const size_t          n_labels = profile.labels.size();
    std::vector<uint64_t> gone(1 + n_labels), all(1 + n_labels);
    for (const saliency_block * b : profile.routed()) {
        const std::vector<int32_t> * kept = kept_in(plan, b->layer);
        for (uint32_t e = 0; kept != nullptr && e < b->n_expert; ++e) {
            const bool removed = !stays(*kept, e);
            const auto add     = [&](size_t i, uint64_t n) {
                all[i] += n;
                gone[i] += removed ? n : 0;
            };
            add(0, b->count[e]);
            for (size_t l = 0; l < n_labels; ++l) {
                add(1 + l, b->label_count[l * b->n_expert + e]);
            }
        }
    }
    std::vector<displaced_share> shares;
    for (size_t i = 0; i < all.size(); ++i) {
        shares.push_back({i == 0 ? "" : profile.labels[i - 1], all[i] > 0 ? double(gone[i]) / double(all[i]) : 0});
    }
    return shares;
}

std::map<int, double> displaced_by_layer(const stats::moestats & profile, const prune_plan & plan) {
    std::map<int, double> shares;
    for (const saliency_block * b : profile.routed()) {
        const std::vector<int32_t> * kept = kept_in(plan, b->layer);
        uint64_t                     gone = 0, all = 0;
        for (uint32_t e = 0; kept != nullptr && e < b->n_expert; ++e) {
            all += b->count[e];
            gone += stays(*kept, e) ? 0 : b->count[e];
        }
        if (all > 0) {
            shares[b->layer] = double(gone) / double(all);
        }
    }
    return shares;
}

}  // namespace moescope::prune
