#pragma once

#include <cstdint>
#include <vector>

namespace moescope::evaluate {

// Which samples are added up together. Intervals draw samples whole; where a label has more samples than `most`, neighbours are
// one unit, so that an evaluation takes the same memory however long the corpus is.
struct sample_units {
    std::vector<uint32_t> of_sample;  // [n_samples] index of its unit
    std::vector<uint32_t> label;      // [n_units]: a unit's samples have one label

    size_t size() const { return label.size(); }
};

// labels: the label (below n_labels) of each sample, in the order of the corpus.
sample_units make_units(const std::vector<uint32_t> & labels, uint32_t n_labels, uint32_t most);

}  // namespace moescope::evaluate
