#include "analysis/tools/foreseen_router.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace moescope::analysis {

namespace {

constexpr float never = -std::numeric_limits<float>::infinity();

float softplus(float x) {
    return x > 20 ? x : std::log1p(std::exp(x));
}

}  // namespace

std::string to_string(const selection_rule & r) {
    static const char * const names[] = {"logits", "sigmoid", "softmax", "root of softplus"};
    return std::string(names[static_cast<size_t>(r.scores)]) + (r.groups ? ", by groups" : "");
}

foreseen_router::foreseen_router(std::vector<gguf::router_weights> routers, const gguf::moe_shape & shape)
    : n_group_(shape.n_expert_groups),
      n_group_used_(shape.n_group_used) {
    using function = selection_rule::function;
    bool biased    = false;
    for (gguf::router_weights & r : routers) {
        biased           = biased || !r.selection_bias.empty();
        const int32_t il = r.layer;
        routers_[il]     = std::move(r);
    }
    const bool groups = n_group_ > 1 && n_group_used_ > 0 && n_group_used_ < n_group_;
    for (const bool by_group : {true, false}) {
        // Without a bias and without groups every function selects what the logits do.
        for (const function f : {function::none, function::sigmoid, function::softmax, function::softplus_root}) {
            if ((by_group && !groups) || (f != function::none && !biased && !by_group)) {
                continue;
            }
            rules_.push_back({f, by_group});
        }
    }
    right_.resize(rules_.size());
    rule_ = rules_.front();
}

bool foreseen_router::has(int32_t layer, uint32_t n_embd, uint32_t n_expert) const {
    const auto it = routers_.find(layer);
    return it != routers_.end() && it->second.n_embd == n_embd && it->second.n_expert == n_expert;
}

void foreseen_router::learn(int32_t layer, const float * input, const std::vector<uint32_t> & ids) {
    const gguf::router_weights & r = routers_.at(layer);
    compute_logits(r, input);
    n_learned_ += 1;
    for (size_t i = 0; i < rules_.size(); ++i) {
        compute_scores(r, rules_[i]);
        take_best(ids.size(), found_);
        for (const uint32_t id : ids) {
            right_[i] += std::find(found_.begin(), found_.end(), id) != found_.end();
        }
    }
}

void foreseen_router::decide() {
    rule_ = rules_[static_cast<size_t>(std::max_element(right_.begin(), right_.end()) - right_.begin())];
}

void foreseen_router::rank(int32_t layer, const float * input, size_t n, std::vector<uint32_t> & out) {
    const gguf::router_weights & r = routers_.at(layer);
    compute_logits(r, input);
    compute_scores(r, rule_);
    take_best(n, out);
}

void foreseen_router::compute_logits(const gguf::router_weights & r, const float * input) {
    logits_.assign(r.n_expert, 0);
    for (uint32_t e = 0; e < r.n_expert; ++e) {
        const float * row = &r.rows[size_t{e} * r.n_embd];
        double        sum = 0;
        for (uint32_t j = 0; j < r.n_embd; ++j) {
            sum += double(row[j]) * double(input[j]);
        }
        logits_[e] = static_cast<float>(sum) + (r.bias.empty() ? 0 : r.bias[e]);
    }
}

void foreseen_router::compute_scores(const gguf::router_weights & r, const selection_rule & rule) {
    scores_ = logits_;
    switch (rule.scores) {
        case selection_rule::function::none: break;
        case selection_rule::function::sigmoid:
            std::for_each(scores_.begin(), scores_.end(), [](float & x) { x = 1 / (1 + std::exp(-x)); });
            break;
        case selection_rule::function::softmax: {
            const float most = *std::max_element(scores_.begin(), scores_.end());
            double      sum  = 0;
            for (float & x : scores_) {
                x = std::exp(x - most);
                sum += double(x);
            }
            std::for_each(scores_.begin(), scores_.end(), [&](float & x) { x = float(double(x) / sum); });
            break;
        }
        case selection_rule::function::softplus_root:
            std::for_each(scores_.begin(), scores_.end(), [](float & x) { x = std::sqrt(softplus(x)); });
            break;
    }
    for (size_t e = 0; e < r.selection_bias.size(); ++e) {
        scores_[e] += r.selection_bias[e];
    }
    if (rule.groups && scores_.size() % n_group_ == 0) {
        mask_groups();
    }
}

void foreseen_router::mask_groups() {
    const size_t       size = scores_.size() / n_group_;
    std::vector<float> rating(n_group_);
    for (uint32_t g = 0; g < n_group_; ++g) {
        std::vector<float> members(scores_.begin() + static_cast<long>(g * size),
                                   scores_.begin() + static_cast<long>((g + 1) * size));
        std::partial_sort(members.begin(), members.begin() + static_cast<long>(std::min<size_t>(2, size)),
                          members.end(), std::greater<float>());
        rating[g] = members[0] + (size > 1 ? members[1] : 0);
    }
    std::vector<uint32_t> order(n_group_);
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return rating[a] > rating[b]; });
    for (uint32_t i = n_group_used_; i < n_group_; ++i) {
        std::fill_n(scores_.begin() + static_cast<long>(order[i] * size), size, never);
    }
}

void foreseen_router::take_best(size_t n, std::vector<uint32_t> & out) {
    out.resize(scores_.size());
    std::iota(out.begin(), out.end(), 0u);
    n = std::min(n, out.size());
    std::partial_sort(out.begin(), out.begin() + static_cast<long>(n), out.end(), [&](uint32_t a, uint32_t b) {
        return scores_[a] != scores_[b] ? scores_[a] > scores_[b] : a < b;
    });
    out.resize(n);
}

}  // namespace moescope::analysis
