#pragma once

// Two runs of the same tokens, matched: what `analyze compare` and `analyze stability` share.

#include <string>

#include "analysis/agreement.hpp"
#include "analysis/tools/running_stats.hpp"
#include "cli/answers/shared.hpp"

namespace moescope::cli {

// What two files have in common, token by token.
struct matched_files {
    analysis::agreement_result result;
    std::string                why_not;  // the models cannot be compared expert by expert: how they differ
    bool                       names_differ = false;
    bool                       mapped       = false;  // ids of a pruned model were read as those of the full one
};

// Matches two files. Ids of a pruned model are brought back to those of the model that was never pruned, where its GGUF
// still lies where the trace says and has the size it had.
// Throws error where one cannot be read, or holds counts alone.
matched_files measure_files(const std::string & a, const std::string & b, const analyze_options & o);

// The shared experts per token: over layers, each of equal weight.
analysis::running_stats overall(const analysis::agreement_result & r);

// Throws usage_error if options are given that a comparison of whole runs does not take.
void refuse_filters(const analyze_options & o, const char * kind);

}  // namespace moescope::cli
