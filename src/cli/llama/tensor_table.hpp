#pragma once

#include <string>
#include <vector>

#include "infer/tensor_list.hpp"

namespace moescope::cli {

// Prints name, op, type and shape of the nodes whose name contains `pattern` or matches it as a whole with * and ?
// (empty: all) to stdout. Returns how many.
size_t print_tensors(const std::vector<infer::tensor_list::node> & nodes, const std::string & pattern);

}  // namespace moescope::cli
