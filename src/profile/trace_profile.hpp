#pragma once

// A profile from traffic that was recorded, instead of from a corpus that is computed.

#include <string>
#include <vector>

#include "stats/moestats.hpp"
#include "trace/read_through.hpp"
#include "trace/source.hpp"

namespace moescope::profile {

struct trace_profile_options {
    stats::gate_kind gate = stats::gate_kind::final;
    // [request] label, in the order in which requests begin (trace/requests.hpp); a request without one counts for none.
    // Empty: the labels that the trace keeps of its prompts (run --label-key), if it does.
    std::vector<std::string> labels;
    // Whether a trace will do that has no norms, no gate weights, or counts alone: the sums that need them are then empty
    // ([0] instead of [n_expert]), and of counts alone there are no labels.
    bool take_what_is_there = false;
};

// The sums of a trace's rows, as `moescope profile` would have added them up: of gates, norms and pairs; with gram, easy_ep;
// with gram, runner-up, weights-raw (and probs where they spread) removal, too; with peaks, peak. One corpus part: the trace;
// its samples are its requests. Fingerprints are those of the model's file, where that still lies where the trace says,
// else 0. Throws error where the trace has no rows or lacks a column, with the --capture that records it.
stats::moestats profile_of_trace(trace::trace_source & source, const trace_profile_options & o,
                                 const trace::read_progress & progress = {});

// How many requests the trace has.
uint64_t count_requests(trace::trace_source & source);

}  // namespace moescope::profile
