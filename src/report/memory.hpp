#pragma once

#include <string>
#include <vector>

#include "report/page_data.hpp"
#include "trace/source.hpp"

namespace moescope::report {

// The memory map of a model for the page. Throws error where the file is not a GGUF that llama.cpp could load.
page_memory read_memory(const std::string & model_path);

// Appends how often each entry was read in this run. Expert slices are counted by the ids of their block: one access is
// one ubatch in which at least one row selected the expert. Whole tensors are known from the run's access lists alone.
// Throws error where the run's shape does not fit the model.
void add_accesses(page_memory & memory, const page_run & run, const std::vector<access_list> & lists);

}  // namespace moescope::report
