#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/expert_counts.hpp"
#include "stats/moestats.hpp"

namespace moescope::cli {

// Whether a file is a profile: a .moestats, or an expert_stats.json (one key per layer, each with total_tokens and
// activation_counts). False where it cannot be read.
bool is_profile(const std::string & path);

// Either of the two. An expert_stats.json gives what it has: counts, and sums from its means; no model, labels or corpora, and
// n_expert_used as selections over rows. Throws error naming the file.
stats::moestats read_profile(const std::string & path);

// The same, or the profile of a trace (profile::profile_of_trace): whatever the sums of experts can come from.
stats::moestats read_profile_or_trace(const std::string & path);

// The same, where a trace will do that has counts, or no norms (trace_profile_options::take_what_is_there).
stats::moestats read_counts_or_more(const std::string & path);

// What `prune --stats` knows of a file beyond scores: a .moestats, or a trace with whatever it has. Nothing of other files.
std::optional<stats::moestats> read_sums(const std::string & path);

bool is_trace(const std::string & path);  // a .moetrace; false where it cannot be read

// Where the labels of a trace's requests come from.
struct request_labels {
    std::string jsonl;  // line i labels request i; empty: not from a file
    std::string key;    // the field of a line; empty: "label"
    std::string by;     // "request": each has its own; "trace": all have the trace's name; empty: what the trace keeps
};

// The sums of all traces together, read with progress on stderr. Throws error where they are of different models, where the
// lines of the JSONL are not as many as the requests, or where a trace is given twice.
stats::moestats profile_of_traces(const std::vector<std::string> & paths, stats::gate_kind gate,
                                  const request_labels & labels = {});

// How often each expert was selected, in all blocks.
expert_counts counts_of(const stats::moestats & s);

}  // namespace moescope::cli
