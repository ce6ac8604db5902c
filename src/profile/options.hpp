#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "capture/capture_options.hpp"
#include "infer/corpus.hpp"
#include "infer/logit_rows.hpp"
#include "stats/saliency.hpp"

namespace moescope::profile {

// What a profile is asked for.
struct job_options {
    std::string           jsonl, text;  // the corpus; one of the two
    infer::corpus_options corpus;       // of a text the limit alone
    uint64_t              shard    = 0;
    uint64_t              n_shards = 1;

    stats::gate_kind                  gate = stats::gate_kind::final;
    stats::sum_set                    sums = stats::sum_set::all;  // norms alone without probes
    std::string                       layers;                      // as layer_filter reads them
    infer::logit_rows                 rows;
    expert_mask                       mask;                                     // what is measured is the masked model
    std::optional<capture::mechanism> capture_by = capture::mechanism::probes;  // none: only compute
    bool                              jinja      = true;                        // for chat templates

    uint64_t save_every = 100;  // samples between checkpoints
    bool     resume     = false;
};

}  // namespace moescope::profile
