#include "make-model/planted_truth.hpp"

#include "core/error.hpp"
#include "make-model/planted_family.hpp"
#include "make-model/random_stream.hpp"
#include "make-model/tokenizer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moescope::make_model {
namespace {

using router_kind = planted_family::router_kind;

double sigmoid(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}

std::vector<double> softmax(const std::vector<double> & x) {
    const double        top = *std::max_element(x.begin(), x.end());
    std::vector<double> p;
    for (double v : x) {
        p.push_back(std::exp(v - top));
    }
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (double & v : p) {
        v /= sum;
    }
    return p;
}

void divide_by_sum(std::vector<double> & x) {
    const double sum = std::accumulate(x.begin(), x.end(), 0.0);
    for (double & v : x) {
        v /= sum;
    }
}

// Ranks that are not selected lie closer together, but still twenty roundings apart: a subset of the experts ranks them.
constexpr double margin_of_the_rest = 1e-5;

// gpt-oss: min(g, 7)·sigmoid(1.702·g)·(clamp(u, ±7) + 1).
double swiglu_oai(double g, double u) {
    g = std::min(g, 7.0);
    u = std::clamp(u, -7.0, 7.0);
    return g * sigmoid(static_cast<double>(1.702f) * g) * (u + 1.0);
}

double swiglu(double g, double u) {
    return g * sigmoid(g) * u;
}

std::vector<int> by_rank(const std::vector<double> & scores) {
    std::vector<int> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return scores[a] > scores[b]; });
    return order;
}

// The level of rank i of n, antisymmetric around the middle, so that a negated input reverses the ranking: steps of
// one among the first k and the last k, a step of two to the rest, and hardly any in between.
double level(uint32_t i, uint32_t n, uint32_t k) {
    const double from_middle = (n - 1) / 2.0 - i;
    const double flat        = std::max(0.0, n / 2.0 - k);
    const double x           = std::fabs(from_middle);
    const double value       = x < flat ? 0.004 * x : x - flat + (flat > 0 ? 1.5 : 0.0);
    return std::copysign(value, from_middle);
}

void check(const planted_options & o) {
    if (o.n_expert_used == 0 || o.n_expert_used > o.n_expert) {
        throw error("a planted model needs 1 to n_expert selected experts, not " + std::to_string(o.n_expert_used));
    }
    if (o.n_vocab < n_vocab_min) {
        throw error("a planted model needs at least " + std::to_string(n_vocab_min) + " tokens");
    }
    if (o.n_embd < 64 || o.n_layer == 0 || o.n_ff_exp == 0) {
        throw error("a planted model needs a width of at least 64, a layer and an expert width");
    }
}

}  // namespace

planted_truth::planted_truth(const planted_options & options) : o_(options) {
    check(o_);
    n_class_ = std::min((o_.n_vocab + 1) / 2, o_.n_embd / 2);
    margin_  = planted_family_of(o_.arch).router == router_kind::sigmoid_biased ? 1e-4 : 0.02;
    levels_.assign(o_.n_layer, std::vector<std::vector<float>>(n_class_, std::vector<float>(o_.n_expert)));
    original_.resize(o_.n_expert);
    std::iota(original_.begin(), original_.end(), 0u);
    clear_tables();
    for (uint32_t il = 0; il < o_.n_layer; il++) {
        for (uint32_t c = 0; c < n_class_; c++) {
            plant_class(il, c);
        }
    }
}

void planted_truth::clear_tables() {
    out_.assign(o_.n_layer + 1, std::vector<std::vector<double>>(o_.n_vocab, std::vector<double>(o_.n_embd)));
    routing_.assign(o_.n_layer, std::vector<routing>(o_.n_vocab));
}

planted_truth planted_truth::keep(const std::vector<uint32_t> & experts) const {
    planted_truth kept = *this;
    kept.o_.n_expert   = static_cast<uint32_t>(experts.size());
    kept.margin_       = margin_of_the_rest;
    check(kept.o_);
    kept.original_.clear();
    for (uint32_t e : experts) {
        kept.original_.push_back(original_.at(e));
    }
    kept.clear_tables();
    for (uint32_t il = 0; il < o_.n_layer; il++) {
        for (uint32_t c = 0; c < n_class_; c++) {
            kept.levels_[il][c].clear();
            for (uint32_t e : experts) {
                kept.levels_[il][c].push_back(levels_[il][c].at(e));
            }
        }
        for (uint32_t t = 0; t < o_.n_vocab; t++) {
            kept.routing_[il][t] = kept.route(il, t);
            if (!kept.is_clear(kept.routing_[il][t], o_.n_expert_used)) {
                throw error("the kept experts of this planted model are too close to rank")
                    .fix("take another seed or subset");
            }
            kept.run_experts(il, t, kept.routing_[il][t]);
        }
    }
    return kept;
}

float planted_truth::draw(const char * what, uint32_t layer, uint32_t i, double low, double high) const {
    random_stream stream(o_.seed, what + std::to_string(layer), i);
    return static_cast<float>(stream.uniform(low, high));
}

float planted_truth::ballast(int32_t token) const {
    return draw("ballast", 0, static_cast<uint32_t>(token), 0.5, 1.2);
}

float planted_truth::norm_weight(uint32_t layer, uint32_t d) const {
    return draw("norm", layer, d, 0.8, 1.2);
}

float planted_truth::router_bias(uint32_t layer, uint32_t expert) const {
    return draw_expert("router bias", layer, expert, -0.1, 0.1);
}

float planted_truth::selection_bias(uint32_t layer, uint32_t expert) const {
    return draw_expert("selection bias", layer, expert, -0.15, 0.15);
}

float planted_truth::gate(uint32_t layer, uint32_t expert) const {
    return draw_expert("gate", layer, expert, 1.0, 3.0) / std::sqrt(static_cast<float>(o_.n_embd));
}

float planted_truth::gate_bias(uint32_t layer, uint32_t expert) const {
    return draw_expert("gate bias", layer, expert, -0.3, 0.3);
}

float planted_truth::up(uint32_t layer, uint32_t expert, uint32_t c) const {
    random_stream stream(o_.seed, "up" + std::to_string(layer), uint64_t(original_[expert]) * n_class_ + c);
    const double  size = stream.uniform(0.5, 1.5) / std::sqrt(static_cast<double>(o_.n_embd));
    return static_cast<float>(stream.next() & 1 ? size : -size);
}

float planted_truth::up_bias(uint32_t layer, uint32_t expert) const {
    return draw_expert("up bias", layer, expert, 0.0, 0.4);
}

float planted_truth::down(uint32_t layer, uint32_t expert, uint32_t d) const {
    if (!is_output_dim(d)) {
        return 0.0f;
    }
    const double  n_out = o_.n_embd - n_class_ - 1;
    const double  size  = draw_expert("down", layer, expert, 0.1, 0.4) / std::sqrt(n_out) / o_.n_ff_exp;
    random_stream stream(o_.seed, "down sign" + std::to_string(layer), uint64_t(original_[expert]) * o_.n_embd + d);
    return static_cast<float>(stream.next() & 1 ? size : -size);
}

float planted_truth::down_bias(uint32_t layer, uint32_t expert, uint32_t d) const {
    if (!is_output_dim(d)) {
        return 0.0f;
    }
    random_stream stream(o_.seed, "down bias" + std::to_string(layer), uint64_t(original_[expert]) * o_.n_embd + d);
    return static_cast<float>(stream.uniform(-0.01, 0.01));
}

// The experts in a random order get the levels in falling order, each moved by up to a fifth of a step.
void planted_truth::draw_levels(uint32_t layer, uint32_t c, uint32_t attempt) {
    random_stream         stream(o_.seed, "levels" + std::to_string(layer), uint64_t(attempt) * n_class_ + c);
    std::vector<uint32_t> order(o_.n_expert);
    std::iota(order.begin(), order.end(), 0u);
    for (uint32_t i = o_.n_expert; i > 1; i--) {
        std::swap(order[i - 1], order[stream.below(i)]);
    }
    const double unit = 1.0 / std::sqrt(static_cast<double>(o_.n_embd));
    for (uint32_t i = 0; i < o_.n_expert; i++) {
        const bool   selected = i < o_.n_expert_used || i >= o_.n_expert - o_.n_expert_used;
        const double moved    = level(i, o_.n_expert, o_.n_expert_used) + (selected ? stream.uniform(-0.2, 0.2) : 0.0);
        levels_[layer][c][order[i]] = static_cast<float>(moved * unit);
    }
}

// Draws the levels of one class in one layer, and runs its tokens through that layer.
void planted_truth::plant_class(uint32_t layer, uint32_t c) {
    for (uint32_t attempt = 0; attempt < 1000; attempt++) {
        draw_levels(layer, c, attempt);
        bool clear = true;
        for (uint32_t t = 0; t < o_.n_vocab && clear; t++) {
            if (class_of(t) == c) {
                routing_[layer][t] = route(layer, t);
                clear              = is_clear(routing_[layer][t], o_.n_expert);
            }
        }
        if (clear) {
            for (uint32_t t = 0; t < o_.n_vocab; t++) {
                if (class_of(t) == c) {
                    run_experts(layer, t, routing_[layer][t]);
                }
            }
            return;
        }
    }
    throw error("no draw of router levels separates the experts of this planted model").fix("take fewer experts");
}

bool planted_truth::is_clear(const routing & r, uint32_t n_rank) const {
    const std::vector<int> order         = by_rank(r.selection);
    const bool             probabilities = planted_family_of(o_.arch).router == router_kind::softmax ||
                               planted_family_of(o_.arch).router == router_kind::softmax_normalised;
    for (uint32_t i = 0; i < n_rank && i + 1 < o_.n_expert; i++) {
        const double a = r.selection[order[i]], b = r.selection[order[i + 1]];
        const double distance = probabilities ? std::log(a / b) : a - b;  // of logits, in either softmax
        if (distance < (i < o_.n_expert_used ? margin_ : margin_of_the_rest)) {
            return false;
        }
    }
    return true;
}

const planted_truth::routing & planted_truth::at(uint32_t layer, int32_t token) const {
    if (layer >= o_.n_layer || token < 0 || static_cast<uint32_t>(token) >= o_.n_vocab) {
        throw error("the planted model has no layer " + std::to_string(layer) + ", token " + std::to_string(token));
    }
    return routing_[layer][token];
}

planted_truth::input planted_truth::normalised(uint32_t layer, int32_t token) const {
    const double b       = ballast(token);
    double       squares = 1.0 + b * b;
    for (double v : out_[layer][token]) {
        squares += v * v;
    }
    const double s = 1.0 / std::sqrt(squares / o_.n_embd + static_cast<double>(rms_eps));
    return {s, sign_of(token) * s * norm_weight(layer, class_of(token)), b * s * norm_weight(layer, ballast_dim())};
}

std::vector<double> planted_truth::gate_input(uint32_t layer, int32_t token) const {
    at(layer, token);
    const input         x   = normalised(layer, token);
    std::vector<double> row = out_[layer][token];
    for (uint32_t d = 0; d < o_.n_embd; d++) {
        row[d] *= x.scale * norm_weight(layer, d);
    }
    row[class_of(token)] = x.x_class;
    row[ballast_dim()]   = x.x_ballast;
    return row;
}

planted_truth::routing planted_truth::route(uint32_t layer, int32_t token) const {
    const planted_family & family = planted_family_of(o_.arch);
    const input            x      = normalised(layer, token);
    routing                r;
    for (uint32_t e = 0; e < o_.n_expert; e++) {
        const double logit = router(layer, e, class_of(token)) * x.x_class;
        r.logits.push_back(logit + (family.has_biases ? router_bias(layer, e) : 0.0f));
    }
    switch (family.router) {
        case router_kind::softmax:
        case router_kind::softmax_normalised: r.probs = softmax(r.logits); break;
        case router_kind::softmax_over_selected: r.probs = r.logits; break;
        case router_kind::sigmoid_biased:
            for (double logit : r.logits) {
                r.probs.push_back(sigmoid(logit));
            }
            break;
    }
    r.selection = r.probs;
    if (family.router == router_kind::sigmoid_biased) {
        for (uint32_t e = 0; e < o_.n_expert; e++) {
            r.selection[e] += selection_bias(layer, e);
        }
    }
    r.ids = by_rank(r.selection);
    r.ids.resize(o_.n_expert_used);
    for (int e : r.ids) {
        r.weights_raw.push_back(r.probs[e]);
    }
    r.weights = r.weights_raw;
    if (family.router == router_kind::softmax_over_selected) {
        r.weights = softmax(r.weights_raw);
    } else if (family.router != router_kind::softmax) {
        divide_by_sum(r.weights);
    }
    return r;
}

void planted_truth::run_experts(uint32_t layer, int32_t token, routing & r) {
    const bool            biased = planted_family_of(o_.arch).has_biases;
    const input           x      = normalised(layer, token);
    std::vector<double> & next   = out_[layer + 1][token];
    next                         = out_[layer][token];
    for (uint32_t i = 0; i < o_.n_expert_used; i++) {
        const uint32_t e       = static_cast<uint32_t>(r.ids[i]);
        const double   g       = gate(layer, e) * x.x_ballast;
        const double   u       = up(layer, e, class_of(token)) * x.x_class;
        const double   h       = biased ? swiglu_oai(g + gate_bias(layer, e), u + up_bias(layer, e)) : swiglu(g, u);
        double         squares = 0;
        for (uint32_t d = 0; d < o_.n_embd; d++) {
            const double f = o_.n_ff_exp * h * down(layer, e, d) + (biased ? down_bias(layer, e, d) : 0.0f);
            squares += f * f;
            next[d] += r.weights[i] * f;
        }
        r.norms.push_back(std::sqrt(squares));
    }
}

}  // namespace moescope::make_model
