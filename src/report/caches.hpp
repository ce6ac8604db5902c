#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "analysis/cache.hpp"
#include "report/page_data.hpp"
#include "trace/source.hpp"

namespace moescope::report {

// Accesses that a page simulates caches of: some seconds of work. Longer traces are for 'moescope analyze cache'.
constexpr uint64_t max_cache_accesses = 6'000'000;

// Every policy of analysis/cache.hpp at up to nine numbers of slots, for each layer and for one pool. The slots that
// 'moescope analyze cache' tries by itself are among them, and its figures are the same.
// sizes: of the experts, or empty. going_on: false stops, and gives an empty result.
page_cache simulate_caches(trace::trace_source & source, const analysis::expert_sizes & sizes,
                           const std::function<bool()> & going_on);

// What stands for them where the trace has more accesses than a page simulates.
page_cache too_many_accesses(uint64_t accesses);

// The sizes of a model's experts; empty where it has none.
analysis::expert_sizes expert_sizes_of(const std::string & model_path);

}  // namespace moescope::report
