#include "evaluate/sample_units.hpp"

#include <algorithm>

namespace moescope::evaluate {

sample_units make_units(const std::vector<uint32_t> & labels, uint32_t n_labels, uint32_t most) {
    std::vector<uint64_t> n_samples(n_labels), seen(n_labels), first(n_labels);
    for (const uint32_t l : labels) {
        n_samples[l] += 1;
    }
    sample_units units;
    for (uint32_t l = 0; l < n_labels; ++l) {
        first[l] = units.label.size();
        units.label.insert(units.label.end(), std::min<uint64_t>(n_samples[l], most), l);
    }
    units.of_sample.reserve(labels.size());
    for (const uint32_t l : labels) {
        const uint64_t n = std::min<uint64_t>(n_samples[l], most);
        units.of_sample.push_back(static_cast<uint32_t>(first[l] + seen[l]++ * n / n_samples[l]));
    }
    return units;
}

}  // namespace moescope::evaluate
