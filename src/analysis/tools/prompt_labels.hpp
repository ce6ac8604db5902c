#pragma once

#include <string>
#include <vector>

namespace moescope::analysis {

// `moescope run --label-key` keeps each prompt's label in the trace, as a note {"prompt": 0, "label": "code", …} with the
// prompt's number. The prompts of such a trace are its sequences, in the same order.

bool is_prompt_label(const std::string & note);

// [prompt] label; empty where a prompt has none. Empty as a whole where no note is one.
std::vector<std::string> prompt_labels(const std::vector<std::string> & notes);

}  // namespace moescope::analysis
