#include "core/expert_mask.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace moescope {

namespace {

bool speaks_of(int32_t rule_layer, int32_t layer) {
    return rule_layer == layer || rule_layer == expert_mask::every_layer;
}

std::string range_text(int32_t first, int32_t last) {
    return first == last ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(last);
}

// "layers 0-5, 8", in ascending order.
std::string layers_text(const std::vector<router_shape> & routers) {
    std::vector<int32_t> layers;
    for (const router_shape & r : routers) {
        layers.push_back(r.layer);
    }
    std::sort(layers.begin(), layers.end());
    std::string text;
    for (size_t i = 0, end; i < layers.size(); i = end) {
        for (end = i + 1; end < layers.size() && layers[end] <= layers[end - 1] + 1; ++end) {
        }
        text += (text.empty() ? "" : ", ") + range_text(layers[i], layers[end - 1]);
    }
    return (layers.size() == 1 ? "layer " : "layers ") + text;
}

// The fewest experts that a choice of groups may leave to choose from. The router takes the groups whose two best experts
// score highest: an omitted expert scores nothing, so groups with two left go before those with one, and these before none.
uint32_t fewest_in_chosen_groups(const router_shape & r, const std::vector<float> & biases) {
    const size_t          per_group = r.n_expert / r.n_group;
    std::vector<uint32_t> left(r.n_group);
    for (size_t e = 0; e < per_group * r.n_group; ++e) {
        left[e / per_group] += biases[e] != expert_mask::omitted ? 1 : 0;
    }
    std::sort(left.begin(), left.end(), [](uint32_t a, uint32_t b) {
        const uint32_t rank_a = std::min(a, 2U), rank_b = std::min(b, 2U);
        return rank_a != rank_b ? rank_a > rank_b : a < b;
    });
    uint32_t n = 0;
    for (size_t g = 0; g < std::min<size_t>(r.n_group_used, left.size()); ++g) {
        n += left[g];
    }
    return n;
}

void check_left(const router_shape & r, const std::vector<float> & biases) {
    const auto n_left = static_cast<uint32_t>(
        std::count_if(biases.begin(), biases.end(), [](float b) { return b != expert_mask::omitted; }));
    const std::string layer = "layer " + std::to_string(r.layer), k = std::to_string(r.n_expert_used);
    if (n_left == 0) {
        throw usage_error("every expert of " + layer + " is omitted")
            .fix("a token needs " + (r.n_expert_used ? k : "one"));
    }
    if (n_left < r.n_expert_used) {
        throw usage_error(layer + " has " + std::to_string(n_left) + (n_left == 1 ? " expert" : " experts") +
                          " left, and a token uses " + k);
    }
    if (r.n_group > 1 && fewest_in_chosen_groups(r, biases) < r.n_expert_used) {
        throw usage_error(layer + " chooses " + std::to_string(r.n_group_used) + " of its " +
                          std::to_string(r.n_group) +
                          " groups first, and some that it may choose have too few experts left: a token uses " + k);
    }
}

}  // namespace

void expert_mask::add(int32_t layer, int32_t first, int32_t last, float bias) {
    if (layer < every_layer || layer > max_layer) {
        throw usage_error("layers are numbered from 0 to " + std::to_string(max_layer) + "; " + std::to_string(layer) +
                          " is none");
    }
    if (first < 0 || last < first || last > max_expert) {
        throw usage_error(std::to_string(first) + "-" + std::to_string(last) + " is not a range of experts");
    }
    if (bias != omitted && !(std::abs(bias) <= max_bias)) {
        throw usage_error("a bias must be between -1e6 and 1e6, or -inf");
    }
    biases_.push_back({layer, first, last, bias});
}

void expert_mask::keep_only(int32_t layer, int32_t first, int32_t last) {
    expert_mask checked;
    checked.add(layer, first, last, 0);
    only_.push_back(checked.biases_.front());
}

expert_mask & expert_mask::operator|=(const expert_mask & other) {
    const std::vector<rule> biases = other.biases_, only = other.only_;  // other may be this
    biases_.insert(biases_.end(), biases.begin(), biases.end());
    only_.insert(only_.end(), only.begin(), only.end());
    return *this;
}

std::vector<float> expert_mask::biases(int32_t layer, uint32_t n_expert) const {
    std::vector<float> sums(n_expert);
    bool               any  = false;
    const auto         each = [&](const std::vector<rule> & rules, auto && what) {
        for (const rule & r : rules) {
            if (speaks_of(r.layer, layer)) {
                any = true;
                for (auto e = static_cast<size_t>(r.first); e < n_expert && e <= static_cast<size_t>(r.last); ++e) {
                    what(e, r.bias);
                }
            }
        }
    };
    each(biases_, [&](size_t e, float bias) { sums[e] += bias; });
    const bool chosen =
        std::any_of(only_.begin(), only_.end(), [&](const rule & r) { return speaks_of(r.layer, layer); });
    std::vector<bool> kept(n_expert, !chosen);
    each(only_, [&](size_t e, float) { kept[e] = true; });
    for (size_t e = 0; e < n_expert; ++e) {
        sums[e] = kept[e] ? sums[e] : omitted;
    }
    return any ? sums : std::vector<float>();
}

void expert_mask::check(const std::vector<router_shape> & routers) const {
    if (!empty() && routers.empty()) {
        throw usage_error("the model has no experts");
    }
    check_layers(routers, [](int32_t) { return true; });
    for (const router_shape & r : routers) {
        check_router(r);
    }
}

void expert_mask::check_layers(const std::vector<router_shape> &    routers,
                               const std::function<bool(int32_t)> & concerns) const {
    for (const auto * rules : {&biases_, &only_}) {
        for (const rule & named : *rules) {
            const bool there = std::any_of(routers.begin(), routers.end(),
                                           [&](const router_shape & r) { return r.layer == named.layer; });
            if (named.layer != every_layer && !there && concerns(named.layer)) {
                throw usage_error("layer " + std::to_string(named.layer) + " has no experts")
                    .fix("there are some in " + layers_text(routers));
            }
        }
    }
}

void expert_mask::check_router(const router_shape & r) const {
    for (const auto * rules : {&biases_, &only_}) {
        for (const rule & named : *rules) {
            if (speaks_of(named.layer, r.layer) && static_cast<uint32_t>(named.last) >= r.n_expert) {
                throw usage_error("layer " + std::to_string(r.layer) + " has no expert " + std::to_string(named.last))
                    .fix("its experts are 0 to " + std::to_string(r.n_expert - 1));
            }
        }
    }
    if (const std::vector<float> of_layer = biases(r.layer, r.n_expert); !of_layer.empty()) {
        check_left(r, of_layer);
    }
}

}  // namespace moescope
