#pragma once

#include <cstdint>
#include <vector>

#include "core/routing.hpp"

namespace moescope::stats {

// What a block's output would be without one of the experts that a row selected: the router passes it over, the runner-up
// moves in, and the gates form again by the model's own rule,
//
//     a softmax over the selected                      (gpt-oss)
//     normalised to a sum, which clamps at 2⁻¹⁴        (Qwen3, DeepSeek V3, GLM 4.5, …)
//     or as they are; of a softmax over all experts    (OLMoE, Qwen2: the others' probabilities grow by 1 / (1 − p))
//
// so ‖y − y′‖² is a quadratic form of the dot products of the row's expert outputs. It is exact for a router that selects
// the k best scores, and that the absence of one expert does not lead elsewhere; where groups are chosen first, or a bias is
// added to softmax probabilities, another expert than the runner-up may move in.
class removal_errors {
public:
    explicit removal_errors(const block_layout & l);

    // Whether the layout has what is needed: the columns gram, runner-up, weights and weights-raw of outputs that are not
    // gated, with nothing but sums between them and the residual stream; and probs, where rows that do not select an expert
    // would change without it, too.
    static bool known(const block_layout & l);

    // Whether they would: its part in the denominator of a softmax over all experts goes, and gates are used as they are.
    static bool spreads(const block_layout & l);

    // [k]: ‖y − y′‖² / ‖h + y‖² of each selected expert of a row. gates, raw: [k]; runner_up: [2]; gram: [m][m].
    // Valid until the next call.
    const double * of_row(const float * gates, const float * raw, const float * runner_up, const float * gram);

    // Where it spreads: the error of an expert that the row of the latest of_row() does not select, by its probability. All
    // gates grow by 1 / (1 − p).
    double of_other(double p) const;

private:
    void   form_gates(size_t without);
    double error_of(const float * gates, const float * gram) const;  // ‖y − y′‖² with the gates formed last

    uint32_t            k_, m_;
    bool                softmax_of_all_, softmax_of_selected_;
    double              sum_;           // what gates add up to where normalised, else 0
    double              factor_ = 1;    // gate / raw where they are not
    std::vector<double> raw_, formed_;  // [k + 1]
    std::vector<double> errors_;        // [k]
    double              size_ = 0;      // ‖y‖² / ‖h + y‖² of the row's selected experts
};

// cos(h, h + y) of a row, from its gram [m][m].
double residual_cosine(const float * gram, uint32_t m);

}  // namespace moescope::stats
