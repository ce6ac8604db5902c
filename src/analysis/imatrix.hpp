#pragma once

#include <string>
#include <vector>

#include "core/expert_counts.hpp"

namespace moescope::analysis {

// Selections per expert that llama.cpp's imatrix saw, read from the `<tensor>.counts` of its GGUF file: how often each
// expert was calibrated. Layers without per-expert counts are absent.
struct imatrix_counts {
    expert_counts counts;               // n_expert_used is Σ counts / rows of the layer's router; 0 (and rows 0) where
                                        // the file has no counts for the router
    std::vector<std::string> datasets;  // that it was made from
    std::vector<std::string> notes;
};

// Whether the file begins as a GGUF file does.
bool looks_like_gguf(const std::string & path);

// Throws error when the file is no imatrix, or has no counts of experts.
imatrix_counts read_imatrix_counts(const std::string & path);

}  // namespace moescope::analysis
