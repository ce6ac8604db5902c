#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moescope::make_model {

struct planted_options {
    std::string arch    = "qwen3moe";  // one of planted_architectures()
    uint32_t    n_layer = 3, n_expert = 8, n_expert_used = 3, n_embd = 256, n_ff_exp = 64, n_vocab = 260;
    uint64_t    seed = 1;
};

// A model whose routing is known before it runs.
//
// The residual stream of width n_embd has three parts: n_class class dimensions, one ballast dimension, and the output
// dimensions. Attention adds nothing (its output matrix is zero), so position and neighbours of a token do not matter.
// The embedding of token t is ±1 in the class dimension c(t) = (t / 2) mod n_class, with the sign of t's parity, and
// b(t) > 0 in the ballast; no two tokens share all three. Experts write into the output dimensions alone, and router,
// gate and up matrices do not read these: they act only through the RMS norm, so
//
//     s         = 1 / sqrt((1 + b² + |out|²) / n_embd + eps)
//     x_c, x_b  = ± s·w_c,  b·s·w_b                             the normalised input, w the norm's weights
//     logit_e   = R[e,c]·x_c (+ router bias)                    R[.,c]: a permutation of well-spaced levels
//     h_e       = act(G[e]·x_b (+ bias), U[e,c]·x_c (+ bias))   the same in each of the n_ff_exp hidden units
//     f_e[d]    = n_ff_exp·h_e·D[e,d] (+ bias)                  expert output, in the output dimensions
//     out      += Σ g_e·f_e                                     over the selected experts, g the gate weights
//
// All of it is computed here in double precision from the planted numbers, which are floats, as they are stored.
// Levels are drawn again until, for every token and layer, neighbours in rank among the selected and the first one
// left out differ by `margin()`, and all others by 1e-5, so that rounding cannot change a selection.
class planted_truth {
public:
    // Throws moescope::error where the architecture cannot be planted or the sizes leave no room.
    explicit planted_truth(const planted_options & options);

    // The same model with only those experts, renumbered in the given order: what pruning a file must give.
    // Throws moescope::error where fewer than n_expert_used are kept or ranks come too close to tell.
    planted_truth keep(const std::vector<uint32_t> & experts) const;

    const planted_options & options() const { return o_; }

    // Of MoE layer il and a token id, in rank order, n_expert_used entries each.
    std::vector<int>    ids(uint32_t il, int32_t token) const { return at(il, token).ids; }
    std::vector<double> weights(uint32_t il, int32_t token) const { return at(il, token).weights; }  // final gates
    std::vector<double> weights_raw(uint32_t il, int32_t token) const { return at(il, token).weights_raw; }
    std::vector<double> norms(uint32_t il, int32_t token) const { return at(il, token).norms; }  // |f_e|

    // By expert id, n_expert entries each; gate_input by dimension, n_embd entries.
    std::vector<double> logits(uint32_t il, int32_t token) const { return at(il, token).logits; }
    std::vector<double> probs(uint32_t il, int32_t token) const { return at(il, token).probs; }
    std::vector<double> selection(uint32_t il, int32_t token) const { return at(il, token).selection; }
    std::vector<double> gate_input(uint32_t il, int32_t token) const;

    // The token that greedy sampling picks after `token`: always a printable ASCII character.
    // Tokens of one class and sign have the same successor.
    int32_t successor(int32_t token) const {
        return ' ' + (37 * (token % static_cast<int32_t>(2 * n_class_)) + 11) % 95;
    }

    // The least distance that separates selected ranks: of logits in a softmax, else of selection().
    double margin() const { return margin_; }

    // The planted numbers, as stored in the file. c: class dimension, d: dimension of the residual stream.
    uint32_t n_class() const { return n_class_; }
    uint32_t class_of(int32_t token) const { return static_cast<uint32_t>(token) / 2 % n_class_; }
    float    sign_of(int32_t token) const { return token % 2 ? -1.0f : 1.0f; }
    uint32_t ballast_dim() const { return n_class_; }
    bool     is_output_dim(uint32_t d) const { return d > n_class_; }
    float    ballast(int32_t token) const;
    float    norm_weight(uint32_t layer, uint32_t d) const;
    float    router(uint32_t layer, uint32_t expert, uint32_t c) const { return levels_[layer][c][expert]; }
    float    router_bias(uint32_t layer, uint32_t expert) const;     // gpt-oss
    float    selection_bias(uint32_t layer, uint32_t expert) const;  // exp_probs_b
    float    gate(uint32_t layer, uint32_t expert) const;
    float    gate_bias(uint32_t layer, uint32_t expert) const;
    float    up(uint32_t layer, uint32_t expert, uint32_t c) const;
    float    up_bias(uint32_t layer, uint32_t expert) const;
    float    down(uint32_t layer, uint32_t expert, uint32_t d) const;
    float    down_bias(uint32_t layer, uint32_t expert, uint32_t d) const;
    static constexpr float rms_eps = 1e-5f;

private:
    struct routing {
        std::vector<int>    ids;
        std::vector<double> weights, weights_raw, norms, logits, probs, selection;
    };
    struct input {  // the normalised input of an MoE block
        double scale, x_class, x_ballast;
    };

    const routing & at(uint32_t layer, int32_t token) const;
    input           normalised(uint32_t layer, int32_t token) const;
    routing         route(uint32_t layer, int32_t token) const;
    void            plant_class(uint32_t layer, uint32_t c);
    void            clear_tables();
    void            draw_levels(uint32_t layer, uint32_t c, uint32_t attempt);
    bool            is_clear(const routing & r, uint32_t n_rank) const;  // of the first ranks
    void            run_experts(uint32_t layer, int32_t token, routing & r);
    float           draw(const char * what, uint32_t layer, uint32_t i, double low, double high) const;
    float           draw_expert(const char * what, uint32_t layer, uint32_t expert, double low, double high) const {
                  return draw(what, layer, original_[expert], low, high);
    }

    planted_options                               o_;
    uint32_t                                      n_class_ = 0;
    double                                        margin_  = 0;
    std::vector<uint32_t>                         original_;  // [expert]: its number before keep()
    std::vector<std::vector<std::vector<float>>>  levels_;    // [layer][class][expert]
    std::vector<std::vector<std::vector<double>>> out_;       // [layer][token][d]: output dimensions before the layer
    std::vector<std::vector<routing>>             routing_;   // [layer][token]
};

std::vector<std::string> planted_architectures();

}  // namespace moescope::make_model
