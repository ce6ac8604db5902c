#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moescope::evaluate {

// How two predictions of the same token compare. P is the full model's distribution over the vocabulary, Q the changed one's,
// t the token that follows in the text. Natural logarithms.
struct row_score {
    double   nll_full    = 0;      // −ln P(t)
    double   nll_changed = 0;      // −ln Q(t)
    double   kl          = 0;      // KL(P‖Q) = Σ P ln(P/Q) (Kullback and Leibler 1951)
    bool     same_top    = false;  // the likeliest token is the same
    uint32_t n_top5      = 0;      // of the five likeliest tokens of P, how many are among those of Q
};

// Of the tokens that are equally likely, those with the lower ids come first, as in llama.cpp.
inline constexpr size_t n_best = 5;

// Compares logits [n_vocab]; n_vocab > 0, target < n_vocab. Exponentials are of single precision (relative error below
// 3e-7, of a divergence below 1e-7 + 1e-6 of it), sums of double precision; equal logits give a divergence of exactly 0. Tokens that P cannot produce (logits of -inf,
// or 87 below the largest) add nothing; what Q alone cannot produce (-inf) makes the divergence larger than 1e20.
row_score compare_rows(const float * full, const float * changed, size_t n_vocab, int32_t target);

struct row_pair {
    const float * full;
    const float * changed;
    int32_t       target;
};
// The same for many rows, on so many threads where it is worth their start. In the order of the rows.
std::vector<row_score> compare_rows(const std::vector<row_pair> & rows, size_t n_vocab, size_t n_threads);

}  // namespace moescope::evaluate
