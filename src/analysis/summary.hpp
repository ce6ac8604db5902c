#pragma once

#include "analysis/frequency.hpp"

namespace moescope::analysis {

// What one screen says of any trace, gathered in one pass.
struct summary_result {
    frequency_result frequency;
};

class summary final : public routing_sink {
public:
    void ubatch(const routed_ubatch & u) override { frequency_.ubatch(u); }

    summary_result result() const { return {frequency_.result()}; }

private:
    frequency frequency_;
};

}  // namespace moescope::analysis
