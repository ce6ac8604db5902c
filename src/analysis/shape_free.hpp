#pragma once

#include "analysis/frequency.hpp"
#include "analysis/temporal.hpp"

namespace moescope::analysis {

// What can be held side by side of models of any number of layers, of experts and of selections per token. Means over MoE
// blocks, each of equal weight; unknown if no block has the figure.
struct shape_free_result {
    double tokens  = 0;
    double blocks  = 0;
    double experts = unknown;  // per block
    double k       = unknown;  // experts used
    // The next three are of blocks with selections (analysis/tools/balance.hpp).
    double entropy = unknown;  // normalised
    double gini    = unknown;
    double held    = unknown;  // share of the experts that hold 90 % of the selections
    double dead    = unknown;  // share of all experts that were never selected
    double overlap = unknown;  // share of its experts that a token has in common with the one before
    double random  = unknown;  // … that any two tokens of the trace have
};

class shape_free final : public routing_sink {
public:
    void              ubatch(const routed_ubatch & u) override;
    shape_free_result result() const;

private:
    frequency frequency_;
    temporal  temporal_;
};

}  // namespace moescope::analysis
