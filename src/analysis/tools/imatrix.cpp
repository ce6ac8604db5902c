#include "analysis/tools/imatrix.hpp"

#include <algorithm>
#include <numeric>

#include "gguf/imatrix.hpp"

namespace moescope::analysis {

namespace {

// imatrix counts in f32, which holds every whole number up to here.
constexpr uint64_t f32_exact = 16'777'216;

void add_layer(expert_counts & counts, int32_t layer, const gguf::imatrix::layer & l) {
    block_layout b;
    b.layer    = layer;
    b.n_expert = static_cast<uint32_t>(l.count.size());
    b.columns  = column::ids;
    expert_counts::block block;
    block.count        = l.count;
    const uint64_t sum = std::accumulate(l.count.begin(), l.count.end(), uint64_t{0});
    if (l.rows > 0 && sum >= l.rows && sum % l.rows == 0) {
        b.n_expert_used = static_cast<uint32_t>(sum / l.rows);
        block.rows      = l.rows;
    }
    counts.tokens = std::max(counts.tokens, l.rows);
    counts.layout.push_back(b);
    counts.blocks.push_back(std::move(block));
}

}  // namespace

imatrix_counts read_imatrix_counts(const std::string & path) {
    const gguf::imatrix matrix = gguf::read_imatrix(path);
    imatrix_counts      result;
    bool                rounded = false;
    result.datasets             = matrix.datasets;
    for (const auto & [layer, l] : matrix.layers) {
        add_layer(result.counts, layer, l);
        for (const std::string & other : l.others) {
            result.notes.push_back("the counts of " + other + " differ from those of " + l.tensor +
                                   ", which are shown");
        }
        rounded = rounded || *std::max_element(l.count.begin(), l.count.end()) >= f32_exact;
    }
    if (rounded) {
        result.notes.push_back("counts of 16,777,216 and more are rounded: imatrix keeps them in single precision");
    }
    return result;
}

}  // namespace moescope::analysis
