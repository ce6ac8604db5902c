#pragma once

#include <string>

#include "analysis/cache_study.hpp"
#include "report/page_data.hpp"

namespace moescope::report {

// Visits of ubatches to layers that a page simulates prefetching of: some seconds of work. Of longer traces it has the
// recalls alone.
constexpr uint64_t max_foresight_visits = 60'000;

// What `moescope analyze prefetch` says, at four numbers of slots and at the times of fetching a slice in between which the
// page interpolates. model: the GGUF that ran, whose routers look ahead where the trace has their inputs; empty: none.
// Empty where it was stopped, or nothing can be foreseen.
page_foresight foresee(trace::trace_source & source, const analysis::expert_sizes & sizes, const std::string & model,
                       const trace::read_progress & progress);

}  // namespace moescope::report
