#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "prune/criterion.hpp"

namespace moescope::prune {

// One score per expert for each layer it was measured in; the higher, the more the expert is worth keeping.
struct expert_scores {
    std::string                        source;  // where they come from, for messages and provenance
    std::map<int, std::vector<double>> layers;  // il -> [n_expert]
};

// Scores from an expert_stats.json (moescope's, or another program's of the same form): one key per layer.
// Throws error when the file lacks what the criterion needs.
expert_scores read_expert_stats_json(const std::string & path, prune_criterion criterion);

// Selection counts from llama.cpp's imatrix (gguf::read_imatrix), good for prune_criterion::frequency.
// Throws error when it is not an imatrix, or has no counts of experts.
expert_scores read_imatrix_scores(const std::string & path);

// Either of the two, by the file's first bytes. An imatrix only knows frequencies: usage_error for other criteria.
expert_scores read_expert_scores(const std::string & path, prune_criterion criterion);

// Scores drawn from a seed, the same on every machine: the baseline that a criterion must beat.
std::vector<double> random_scores(uint64_t seed, int il, size_t n_expert);

}  // namespace moescope::prune
