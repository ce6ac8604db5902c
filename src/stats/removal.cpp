#include "stats/removal.hpp"

#include <algorithm>
#include <cmath>

namespace moescope::stats {

namespace {

constexpr double smallest_divisor = 6.103515625e-5;  // llama.cpp clamps the sum of gates at F16's smallest number

double at(const float * gram, uint32_t m, size_t i, size_t j) {
    return static_cast<double>(gram[i * m + j]);
}

}  // namespace

removal_errors::removal_errors(const block_layout & l)
    : k_(l.n_expert_used),
      m_(l.n_gram()),
      softmax_of_all_(l.has(block_layout::softmax_of_all)),
      softmax_of_selected_(l.has(block_layout::softmax_of_selected)),
      sum_(static_cast<double>(l.weight_sum)),
      raw_(k_ + 1),
      formed_(k_ + 1),
      errors_(k_) {}

bool removal_errors::known(const block_layout & l) {
    return l.columns.has(column::gram) && l.columns.has(column::runner_up) && l.columns.has(column::weights_raw) &&
           l.columns.has(column::weights) && !l.has(block_layout::norms_gated) && !l.has(block_layout::bent_output) &&
           (!spreads(l) || l.columns.has(column::probs));
}

bool removal_errors::spreads(const block_layout & l) {
    return l.has(block_layout::softmax_of_all) && !l.has(block_layout::softmax_of_selected) && l.weight_sum == 0;
}

const double * removal_errors::of_row(const float * gates, const float * raw, const float * runner_up,
                                      const float * gram) {
    std::copy_n(raw, k_, raw_.begin());
    raw_[k_] = static_cast<double>(runner_up[1]);
    for (size_t i = 0; i < k_; ++i) {
        if (raw_[i] != 0) {
            factor_ = static_cast<double>(gates[i]) / raw_[i];
            break;
        }
    }
    const double after = at(gram, m_, m_ - 1, m_ - 1);
    for (size_t i = 0; i < k_; ++i) {
        form_gates(i);
        errors_[i] = after > 0 ? std::max(0.0, error_of(gates, gram)) / after : 0;
    }
    std::fill(formed_.begin(), formed_.end(), 0);
    size_ = after > 0 ? std::max(0.0, error_of(gates, gram)) / after : 0;
    return errors_.data();
}

double removal_errors::of_other(double p) const {
    const double grown = p / std::max(1e-12, 1 - p);
    return grown * grown * size_;
}

// The gates of the others and of the runner-up, the one without being 0.
void removal_errors::form_gates(size_t without) {
    const double grown = softmax_of_all_ ? 1 / std::max(1e-12, 1 - raw_[without]) : 1;
    double       top = -INFINITY, sum = 0;
    for (size_t j = 0; j <= k_; ++j) {
        top = j == without ? top : std::max(top, raw_[j]);
    }
    for (size_t j = 0; j <= k_; ++j) {
        const double g = softmax_of_selected_ ? std::exp(raw_[j] - top) : raw_[j] * grown;
        formed_[j]     = j == without ? 0 : g;
        sum += formed_[j];
    }
    const double by = sum_ != 0 ? sum_ / (softmax_of_selected_ ? sum : std::max(sum, smallest_divisor)) : factor_;
    for (double & g : formed_) {
        g *= by;
    }
}

double removal_errors::error_of(const float * gates, const float * gram) const {
    const auto change = [&](size_t j) { return (j < k_ ? static_cast<double>(gates[j]) : 0.0) - formed_[j]; };
    double     error  = 0;
    for (size_t i = 0; i <= k_; ++i) {
        const double c = change(i);
        for (size_t j = 0; j <= k_; ++j) {
            error += c * change(j) * at(gram, m_, i, j);
        }
    }
    return error;
}

double residual_cosine(const float * gram, uint32_t m) {
    const double before = at(gram, m, m - 2, m - 2), after = at(gram, m, m - 1, m - 1);
    return before > 0 && after > 0 ? at(gram, m, m - 2, m - 1) / std::sqrt(before * after) : 0;
}

}  // namespace moescope::stats
