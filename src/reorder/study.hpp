#pragma once

#include "analysis/cache_study.hpp"
#include "reorder/reads.hpp"

namespace moescope::reorder {

// What a trace says of the order of a model's experts.
struct order_study {
    expert_orders orders;      // learned on all of it
    uint64_t      tokens = 0;  // whose reads are below
    // [habit] of the file as it is, of the order judged on the half that it was not learned on, and of `orders` on the very
    // tokens that these were learned on.
    std::vector<read_sums> before, held_out, after;
};

// study: of the trace, whose rows it reads again. Empty orders where it was stopped.
order_study study_orders(const gguf::model_file & model, analysis::cache_study & study,
                         const std::vector<read_habit> & habits);

}  // namespace moescope::reorder
