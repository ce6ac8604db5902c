#pragma once

#include <cstddef>
#include <vector>

namespace moescope::evaluate {

// The logits of one prediction, and the largest of them.
struct logit_row {
    const float * logits;  // [n_vocab]
    float         largest;
};

// Over the vocabulary, with f and c the logits of the full and of the changed model less their largest:
struct exponential_sums {
    double full;     // Σ e^f
    double changed;  // Σ e^c
    double apart;    // Σ e^f (f − c)
};

// Exponentials are of single precision (relative error below 3e-7), sums of double precision. Most of what a comparison costs,
// so there is code for processors with AVX2 and AVX-512, too; all three give the same bits.
exponential_sums sum_exponentials(const logit_row & full, const logit_row & changed, size_t n_vocab);

// The same by each code that this processor can run, the fastest last.
using exponential_code = exponential_sums (*)(const logit_row & full, const logit_row & changed, size_t n_vocab);
std::vector<exponential_code> exponential_codes();

}  // namespace moescope::evaluate
