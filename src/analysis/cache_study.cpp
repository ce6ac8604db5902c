#include "analysis/cache_study.hpp"

#include <algorithm>
#include <memory>

namespace moescope::analysis {

cache_study::cache_study(trace::trace_source & source, row_choice rows, bool prefer_decode,
                         trace::read_progress progress)
    : source_(source),
      rows_(std::move(rows)),
      progress_(std::move(progress)) {
    const bool everything = prefer_decode && !rows_.only;
    if (everything) {
        rows_.only = phase::decode;
    }
    cache_counts first;
    bool         whole = read({&first});
    if (whole && first.ubatches() == 0 && everything) {
        rows_.only.reset();
        whole = read({&first});
    }
    cache_counts second(first.ubatches() / 2);
    if (whole && first.ubatches() > 0 && read({&second})) {
        counts_ = std::move(second);
    }
}

uint32_t cache_study::most_experts() const {
    uint32_t most = 0;
    for (size_t b = 0; b < counts_.blocks().size(); ++b) {
        most = std::max(most, counts_.blocks()[b].layout.n_expert);
    }
    return most;
}

std::vector<cache_result> cache_study::simulate(const std::vector<cache_plan> & plans) {
    std::vector<std::unique_ptr<cache>> caches;
    std::vector<routing_sink *>         sinks;
    for (const cache_plan & plan : plans) {
        caches.push_back(std::make_unique<cache>(plan, counts_));
        sinks.push_back(caches.back().get());
    }
    std::vector<cache_result> results;
    if (read(sinks)) {
        for (const auto & c : caches) {
            results.push_back(c->result());
        }
    }
    return results;
}

bool cache_study::read(const std::vector<routing_sink *> & sinks) {
    return read_rows(source_, rows_, sinks, progress_);
}

}  // namespace moescope::analysis
