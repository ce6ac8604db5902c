#pragma once

#include <cstdint>
#include <vector>

#include "analysis/cache.hpp"
#include "analysis/tools/row_filter.hpp"
#include "trace/source.hpp"

namespace moescope::analysis {

// The passes over a trace that simulated caches need: the first two when it is made, one more for each simulate().
class cache_study {
public:
    static constexpr uint64_t optimum_memory = 256u << 20;  // bytes; above, Belady's optimum must be asked for

    // prefer_decode: caches are a question about decoding, so decoded tokens are asked about alone where the chosen rows
    // have any; a source without them is asked about everything. The source must outlive this.
    // progress: of each pass anew.
    cache_study(trace::trace_source & source, row_choice rows, bool prefer_decode, trace::read_progress progress = {});

    bool                 empty() const { return counts_.ubatches() == 0; }  // nothing was selected, or it was stopped
    const cache_counts & counts() const { return counts_; }
    const row_choice &   rows() const { return rows_; }  // that were asked about
    uint32_t             most_experts() const;           // of one block

    // In one pass, a result for each plan. Empty where it was stopped.
    std::vector<cache_result> simulate(const std::vector<cache_plan> & plans);

    // One more pass over the rows that are asked about, for what else rests on the counts; false: it was stopped.
    bool read(const std::vector<routing_sink *> & sinks);

private:
    trace::trace_source & source_;
    row_choice            rows_;
    trace::read_progress  progress_;
    cache_counts          counts_;
};

}  // namespace moescope::analysis
