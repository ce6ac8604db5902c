#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace moescope::analysis {

// What `moescope run --label-key` keeps of a prompt, as a note of the trace: {"prompt":3,"line":4,"label":"code","batch":17}.
struct prompt_label {
    uint64_t    prompt = 0;  // its number, from 0; the prompts of such a trace are its sequences, in the same order
    uint64_t    line   = 0;  // of the JSONL file, from 1; 0: not known
    std::string label;
    uint64_t    batch = 0;  // with which the prompt begins
};

std::string                 to_note(const prompt_label & p);
std::optional<prompt_label> parse_prompt_label(const std::string & note);  // nothing for any other note

// [prompt] label; empty where a prompt has none. Empty as a whole where no note is one.
std::vector<std::string> prompt_labels(const std::vector<std::string> & notes);

// The notes that are for people: all but prompt labels.
std::vector<std::string> without_prompt_labels(const std::vector<std::string> & notes);

}  // namespace moescope::analysis
