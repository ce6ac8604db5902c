#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace moescope::analysis {

// "Cannot be had": printed as a dash, null in JSON, empty in CSV.
inline constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

struct interval {
    double low  = unknown;
    double high = unknown;
};

// The 95 % interval of a share of `hits` in `rows` independent rows (Wilson 1927).
interval wilson(uint64_t hits, uint64_t rows);

// The 95 % percentile bootstrap interval of a ratio of sums, Σ part_i / Σ whole_i, over units i that are drawn whole
// (sequences, whose rows depend on each other). Unknown for fewer than two units; of more than 4096, neighbours are drawn
// together. Repeats exactly.
interval bootstrap_ratio(const std::vector<double> & part, const std::vector<double> & whole);

// How far the ratio of `first` lies above each of the others, Σ parts[first] / Σ whole − Σ parts[i] / Σ whole, over the same
// units. The 95 % intervals hold for the differences of every two ratios at once (bootstrap of the largest standardised
// deviation, Romano and Wolf 2005), so they stay true where `first` was chosen on these data, as the best of all (Hsu 1984).
// Unknown for fewer than two units, and for i = first.
std::vector<interval> bootstrap_lead(const std::vector<std::vector<double>> & parts, const std::vector<double> & whole,
                                     size_t first);

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
