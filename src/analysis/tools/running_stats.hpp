#pragma once

#include <cmath>
#include <cstdint>

#include "analysis/tools/unknown.hpp"

namespace moescope::analysis {

// Mean, spread and range of a stream of numbers (Welford 1962).
class running_stats {
public:
    void add(double x) {
        n_ += 1;
        const double d = x - mean_;
        mean_ += d / static_cast<double>(n_);
        m2_ += d * (x - mean_);
        min_ = n_ == 1 || x < min_ ? x : min_;
        max_ = n_ == 1 || x > max_ ? x : max_;
    }
    uint64_t n() const { return n_; }
    double   mean() const { return n_ ? mean_ : unknown; }
    double   sd() const { return n_ > 1 ? std::sqrt(m2_ / static_cast<double>(n_ - 1)) : unknown; }  // of a sample
    double   min() const { return n_ ? min_ : unknown; }
    double   max() const { return n_ ? max_ : unknown; }

private:
    uint64_t n_    = 0;
    double   mean_ = 0, m2_ = 0, min_ = 0, max_ = 0;
};

}  // namespace moescope::analysis
