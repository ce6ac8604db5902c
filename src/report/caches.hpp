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

// What of a model simulations rest on.
struct cache_model {
    analysis::expert_sizes sizes;  // empty where it has no experts
    std::string            path;   // of the GGUF; empty: none
};

// Every policy of analysis/cache.hpp at up to nine numbers of slots, for each layer and for one pool. The slots that
// 'moescope analyze cache' tries by itself are among them, and its figures are the same.
// With it comes what can be foreseen (report/foresight.hpp). going_on: false stops, and gives an empty result.
page_cache simulate_caches(trace::trace_source & source, const cache_model & model,
                           const std::function<bool()> & going_on);

// What stands for them where the trace has more accesses than a page simulates.
page_cache too_many_accesses(uint64_t accesses);

// Of a GGUF; without sizes where it is no model with experts.
cache_model cache_model_of(const std::string & model_path);

}  // namespace moescope::report
