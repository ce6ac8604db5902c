#pragma once

#include <memory>
#include <optional>
#include <string>

#include "analysis/cache_study.hpp"
#include "analysis/prefetch.hpp"

namespace moescope::analysis {

// The routers of a model (GGUF), where the source has the inputs to give them; empty where it has not, or without a model.
// Throws error where the file is no model.
foreseen_router read_router_for(const trace::trace_source & source, const std::string & model);

// The passes over a trace that foresight needs: those of a cache_study, one that learns, and one for each simulate().
class prefetch_study {
public:
    // router: of the model that ran, or empty. source and router must outlive this. The rest as in cache_study.
    prefetch_study(trace::trace_source & source, foreseen_router & router, row_choice rows, bool prefer_decode,
                   const trace::read_progress & progress = {});

    bool                empty() const { return caches_.empty(); }  // nothing was selected, or it was stopped
    const cache_study & caches() const { return caches_; }
    uint64_t visits() const { return visits_; }  // of ubatches to layers: what a simulation's time grows with
    // The median over ubatches of the time to the next one, by the trace's clock, divided by the layers it visited: all that
    // the program did per layer. Unknown without a clock.
    double layer_seconds() const { return layer_seconds_; }

    // Everything but the scores for a plan without slots. Nothing where it was stopped.
    std::optional<prefetch_result> simulate(const prefetch_plan & plan);

private:
    cache_study                        caches_;
    foreseen_router &                  router_;
    std::unique_ptr<foresight_lessons> lessons_;
    uint64_t                           visits_        = 0;
    double                             layer_seconds_ = unknown;
};

}  // namespace moescope::analysis
