#pragma once

#include <string>
#include <vector>

#include "core/expert_counts.hpp"

namespace moescope::analysis {

// Selections per expert that llama.cpp's imatrix saw (gguf::read_imatrix): how often each expert was calibrated.
struct imatrix_counts {
    expert_counts counts;               // n_expert_used is Σ counts / rows of the layer's router; 0 (and rows 0) where
                                        // the file has no counts for the router
    std::vector<std::string> datasets;  // that it was made from
    std::vector<std::string> notes;
};

// Throws error when the file is not an imatrix, or has no expert counts.
imatrix_counts read_imatrix_counts(const std::string & path);

}  // namespace moescope::analysis
