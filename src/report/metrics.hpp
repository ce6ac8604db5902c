#pragma once

#include <string>
#include <vector>

#include "report/page_data.hpp"

namespace moescope::report {

// The runs as Prometheus text (exposition format 0.0.4): tokens and ubatches, and per layer evenness, the largest share
// and the experts that were never selected. One line per layer and measure, none per expert.
std::string prometheus_text(const std::vector<page_run> & runs);

}  // namespace moescope::report
