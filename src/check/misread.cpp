#include "check/misread.hpp"

#include <algorithm>
#include <cmath>

namespace moescope::check {

double chance_disjoint(uint32_t n_expert, uint32_t k, uint32_t m) {
    const auto log_choose = [](double n, double r) {
        return std::lgamma(n + 1) - std::lgamma(r + 1) - std::lgamma(n - r + 1);
    };
    double log_p = 0;
    for (uint32_t j = 0; j < m; ++j) {
        log_p += log_choose(double(n_expert) - double(j) * k, k) - log_choose(n_expert, k);
    }
    return std::exp(log_p);
}

void misread_test::add(const block_rows & b) {
    const uint32_t n_expert = b.layout->n_expert, k = b.layout->n_expert_used;
    if (k == 0 || n_expert < 4 * k || b.layout->has(block_layout::ids_repeat)) {  // k = 0: gate inputs alone
        return;
    }
    seen_.resize(std::max<size_t>(seen_.size(), n_expert));
    const uint64_t n = uint64_t(b.n_rows) * k;
    for (uint64_t start = 0; start + n_expert <= n; start += n_expert) {
        stamp_ += 1;
        uint32_t distinct = 0;
        for (uint64_t i = start; i < start + n_expert; ++i) {
            uint64_t & last = seen_[b.id(i)];
            distinct += last != stamp_;
            last = stamp_;
        }
        const uint64_t first_whole = (start + k - 1) / k, behind_whole = (start + n_expert) / k;
        const double   p = chance_disjoint(n_expert, k, static_cast<uint32_t>(behind_whole - first_whole));
        windows_ += 1;
        partitions_ += distinct == n_expert;
        expected_ += p;
        p_max_ = std::max(p_max_, p);
    }
}

double misread_test::expected() const {
    return expected_;
}

double misread_test::log10_chance() const {
    if (partitions_ == 0) {
        return 0;
    }
    const double n = static_cast<double>(windows_), x = static_cast<double>(partitions_);
    const double log_bound = std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1) + x * std::log(p_max_);
    return std::min(0.0, log_bound / std::log(10.0));
}

}  // namespace moescope::check
