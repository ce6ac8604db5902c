#include "prune/profile_scores.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.hpp"
#include "prune/hope.hpp"

namespace moescope::prune {

namespace {

using stats::expert_sums;
using stats::saliency_block;

// One block's sums, over all rows or those of one label.
class sums_view {
public:
    explicit sums_view(const saliency_block & b) : b_(b) {}
    sums_view(const saliency_block & b, size_t label) : b_(b), label_(static_cast<int64_t>(label)) {}

    double count(uint32_t e) const { return double(label_ < 0 ? b_.count[e] : b_.label_count[at(e)]); }
    double rows() const { return double(label_ < 0 ? b_.rows : b_.label_rows[static_cast<size_t>(label_)]); }
    double sum(std::vector<double> expert_sums::*s, uint32_t e) const {
        return label_ < 0 ? (b_.*s)[e] : (b_.label_sums.*s)[at(e)];
    }
    double mean(std::vector<double> expert_sums::*s, uint32_t e) const {
        return count(e) > 0 ? sum(s, e) / count(e) : 0;
    }

private:
    size_t at(uint32_t e) const { return static_cast<size_t>(label_) * b_.n_expert + e; }

    const saliency_block & b_;
    int64_t                label_ = -1;
};

double score_of(const sums_view & v, uint32_t e, prune_criterion criterion) {
    switch (criterion) {
        case prune_criterion::removal: return v.sum(&expert_sums::removal, e);
        case prune_criterion::reap: return v.mean(&expert_sums::gated_norm, e);
        case prune_criterion::man: return v.mean(&expert_sums::norm, e);
        case prune_criterion::msan: return v.mean(&expert_sums::norm_squared, e);
        case prune_criterion::reap_sum: return v.sum(&expert_sums::gated_norm, e);
        case prune_criterion::ean_sum: return v.sum(&expert_sums::norm, e);
        case prune_criterion::seer: return v.sum(&expert_sums::gate, e);
        case prune_criterion::easy_ep: return v.sum(&expert_sums::easy_ep, e);
        case prune_criterion::frequency: return v.rows() > 0 ? v.count(e) / v.rows() : 0;
        case prune_criterion::gate: return v.mean(&expert_sums::gate, e);
        case prune_criterion::weighted_frequency: return v.rows() > 0 ? v.sum(&expert_sums::gate, e) / v.rows() : 0;
        default: throw usage_error(fmt::format("criterion {} takes no statistics", criterion_name(criterion)));
    }
}

std::vector<double> scores_of_view(const sums_view & v, uint32_t n_expert, prune_criterion criterion) {
    std::vector<double> scores;
    for (uint32_t e = 0; e < n_expert; ++e) {
        scores.push_back(score_of(v, e, criterion));
    }
    return scores;
}

// Each label's scores, adding up to 1; labels without any are left out.
std::vector<std::vector<double>> scores_by_label(const saliency_block & b, prune_criterion criterion) {
    std::vector<std::vector<double>> by_label;
    for (size_t l = 0; l < b.label_rows.size(); ++l) {
        std::vector<double> scores = scores_of_view(sums_view(b, l), b.n_expert, criterion);
        double              total  = 0;
        for (const double s : scores) {
            total += s;
        }
        if (total > 0) {
            std::transform(scores.begin(), scores.end(), scores.begin(), [&](double s) { return s / total; });
            by_label.push_back(std::move(scores));
        }
    }
    return by_label;
}

// Takes experts out one by one, each time the one after which the worst-off label has lost least (of equals, all labels
// together). The score of an expert is when it goes.
std::vector<double> order_by_worst(const std::vector<std::vector<double>> & by_label, uint32_t n_expert) {
    std::vector<double> when(n_expert, -1), lost(by_label.size());
    const auto          damage = [&](uint32_t e) {
        std::pair<double, double> worst_and_sum = {0, 0};
        for (size_t l = 0; l < by_label.size(); ++l) {
            worst_and_sum.first = std::max(worst_and_sum.first, lost[l] + by_label[l][e]);
            worst_and_sum.second += by_label[l][e];
        }
        return worst_and_sum;
    };
    for (uint32_t step = 0; step < n_expert; ++step) {
        uint32_t best = n_expert;
        for (uint32_t e = 0; e < n_expert; ++e) {
            if (when[e] < 0 && (best == n_expert || damage(e) < damage(best))) {
                best = e;
            }
        }
        when[best] = step;
        for (size_t l = 0; l < by_label.size(); ++l) {
            lost[l] += by_label[l][best];
        }
    }
    return when;
}

std::vector<double> balanced_scores(const saliency_block & b, const score_request & r) {
    const auto by_label = scores_by_label(b, r.criterion);
    if (r.balance == label_balance::worst) {
        return order_by_worst(by_label, b.n_expert);
    }
    std::vector<double> scores(b.n_expert);
    for (const std::vector<double> & of_label : by_label) {
        std::transform(scores.begin(), scores.end(), of_label.begin(), scores.begin(), std::plus<>());
    }
    return scores;
}

std::vector<bool> protected_experts(const score_request & r, int layer, uint32_t n_expert) {
    std::vector<bool> flags(n_expert);
    for (const int key : {every_layer, layer}) {
        const auto it = r.protect.find(key);
        for (size_t i = 0; it != r.protect.end() && i < it->second.size(); ++i) {
            const int32_t id = it->second[i];
            if (id >= 0 && static_cast<uint32_t>(id) < n_expert) {
                flags[static_cast<size_t>(id)] = true;
            }
        }
    }
    return flags;
}

std::vector<double> scores_of_block(const saliency_block & b, const score_request & r) {
    if (r.criterion == prune_criterion::hope) {
        return solve_hope(hope_objective(b), r.shape, r.n_keep, protected_experts(r, b.layer, b.n_expert));
    }
    return r.balance == label_balance::rows ? scores_of_view(sums_view(b), b.n_expert, r.criterion)
                                            : balanced_scores(b, r);
}

std::string block_lacks(const saliency_block & b, prune_criterion criterion) {
    switch (criterion) {
        case prune_criterion::removal: return b.removal.empty() ? "has no removal error" : "";
        case prune_criterion::easy_ep: return b.easy_ep.empty() ? "does not know the residual stream" : "";
        case prune_criterion::msan:
        case prune_criterion::hope: return b.norm_squared.empty() ? "has sums of gates and norms alone" : "";
        case prune_criterion::reap:
        case prune_criterion::reap_sum:
        case prune_criterion::man:
        case prune_criterion::ean_sum: return b.norm.empty() || b.gated_norm.empty() ? "has no norms of outputs" : "";
        case prune_criterion::gate:
        case prune_criterion::seer:
        case prune_criterion::weighted_frequency: return b.gate.empty() ? "has no gate weights" : "";
        default: return "";
    }
}

// Experts that were omitted go first.
void put_last(const std::vector<float> & biases, std::vector<double> & scores) {
    const double least = *std::min_element(scores.begin(), scores.end());
    for (size_t e = 0; e < biases.size(); ++e) {
        scores[e] = biases[e] == expert_mask::omitted ? std::nextafter(least, -INFINITY) : scores[e];
    }
}

std::string what_would_do(const stats::moestats & profile, prune_criterion criterion) {
    if (criterion != prune_criterion::removal && !lacks(profile, prune_criterion::reap_sum).empty()) {
        return "record with --capture ids,weights,norms, or use --criterion frequency";
    }
    const bool norms = lacks(profile, prune_criterion::reap_sum).empty();
    return fmt::format("profile {}, or use another criterion, e.g. {}",
                       criterion == prune_criterion::easy_ep ? "again (a trace needs --capture with gram)" : "again",
                       criterion_name(norms ? prune_criterion::reap_sum : prune_criterion::frequency));
}

void check_request(const stats::moestats & profile, const std::string & source, const score_request & r) {
    if (const std::string why = lacks(profile, r.criterion); !why.empty()) {
        throw usage_error(fmt::format("the profile {}, which {} needs", why, criterion_name(r.criterion)))
            .in(source)
            .fix(what_would_do(profile, r.criterion));
    }
    if (r.balance == label_balance::rows) {
        return;
    }
    const bool label_sums = !profile.labels.empty() &&
                            std::all_of(profile.blocks.begin(), profile.blocks.end(),
                                        [](const auto & b) { return b.block > 0 || !b.label_sums.gate.empty(); });
    if (!label_sums) {
        throw usage_error("the profile has no sums by label").in(source).fix("profile with --label-key");
    }
    if (r.criterion == prune_criterion::hope) {
        throw usage_error("hope keeps no sums by label").fix("use another criterion, or --balance rows");
    }
}

}  // namespace

expert_mask mask_of(const stats::moestats & profile) {
    const auto & o  = profile.options;
    const auto   it = std::find_if(o.begin(), o.end(), [](const auto & option) { return option.first == "mask"; });
    return it == o.end() ? expert_mask() : parse_expert_mask(it->second);
}

std::string lacks(const stats::moestats & profile, prune_criterion criterion) {
    for (const saliency_block * b : profile.routed()) {
        if (std::string why = block_lacks(*b, criterion); !why.empty()) {
            return why;
        }
        const bool no_output = criterion == prune_criterion::man || criterion == prune_criterion::msan ||
                               criterion == prune_criterion::ean_sum;
        if (no_output && b->norms_gated()) {
            return "is of a model that gates its experts' input, so it has only norms that hold the gate";
        }
    }
    return "";
}

label_balance default_balance(const stats::moestats & profile, prune_criterion criterion) {
    return criterion == prune_criterion::removal && !profile.labels.empty() ? label_balance::labels
                                                                            : label_balance::rows;
}

expert_scores scores_of_profile(const stats::moestats & profile, const std::string & source, const score_request & r) {
    check_request(profile, source, r);
    expert_scores scores;
    scores.source          = source;
    const expert_mask mask = mask_of(profile);
    for (const saliency_block * b : profile.routed()) {
        scores.layers[b->layer] = scores_of_block(*b, r);
        put_last(mask.biases(b->layer, b->n_expert), scores.layers[b->layer]);
    }
    return scores;
}

expert_ids_by_layer super_experts(const stats::moestats & profile, const std::string & source) {
    std::vector<float> peaks;
    for (const saliency_block * b : profile.routed()) {
        peaks.insert(peaks.end(), b->peak.begin(), b->peak.end());
    }
    if (peaks.empty()) {
        throw usage_error("the profile has no largest elements, which --protect-super needs").in(source);
    }
    std::sort(peaks.begin(), peaks.end());
    const size_t        rank  = static_cast<size_t>(std::ceil(0.995 * double(peaks.size()))) - 1;
    const float         least = std::max(peaks[rank], peaks.back() / 10);
    expert_ids_by_layer found;
    for (const saliency_block * b : profile.routed()) {
        for (uint32_t e = 0; e < b->peak.size(); ++e) {
            if (b->peak[e] > least) {
                found[b->layer].push_back(static_cast<int32_t>(e));
            }
        }
    }
    return found;
}

}  // namespace moescope::prune
