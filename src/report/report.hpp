#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "report/page_data.hpp"
#include "stats/moestats.hpp"

namespace moescope::report {

struct report_options {
    std::vector<std::string> traces;                      // or foreign logs, or profiles
    std::vector<std::string> labels;                      // parallel to traces; missing ones are named after their file
    std::string              model;                       // path of the GGUF for the memory view; empty: none
    std::string              evaluation;                  // path of evaluate's JSON for the damage view; empty: none
    bool                     text           = true;       // with the texts of the tokens
    uint64_t                 max_tile_bytes = 6u << 20;   // of tokens, before compression, over all runs
    uint64_t                 max_pair_cells = 2'000'000;  // per run
    // Reads a file that is a profile; nothing for any other. Not set: none is.
    std::function<std::optional<stats::moestats>(const std::string & path)> read_profile;
};

// How a page names a trace that was given no label: after its file.
std::string label_of(const std::string & path);

// Tells how far reading is: tokens read so far, of this trace.
using report_progress = std::function<void(const std::string & label, uint64_t tokens)>;

// Reads every trace once and gathers what the page shows. What was left out is in page::notes.
page build_page(const report_options & o, const report_progress & progress);

}  // namespace moescope::report
