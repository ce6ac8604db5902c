#include "cli/llama/tensor_table.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fnmatch.h>

#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

bool matches(const std::string & name, const std::string & pattern) {
    return pattern.empty() || name.find(pattern) != std::string::npos ||
           ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

std::string shape(const int64_t * ne) {
    int n_dims = 4;
    while (n_dims > 1 && ne[n_dims - 1] == 1) {
        --n_dims;
    }
    std::string text = std::to_string(ne[0]);
    for (int i = 1; i < n_dims; ++i) {
        text += " x " + std::to_string(ne[i]);
    }
    return "[" + text + "]";
}

}  // namespace

size_t print_tensors(const std::vector<infer::tensor_list::node> & nodes, const std::string & pattern) {
    size_t width = 4, op_width = 2, shown = 0;
    for (const auto & n : nodes) {
        if (matches(n.name, pattern)) {
            width    = std::max(width, printable(n.name).size());
            op_width = std::max(op_width, n.op.size());
        }
    }
    for (const auto & n : nodes) {
        if (matches(n.name, pattern)) {
            if (shown++ == 0) {
                fmt::print("{:<{}}  {:<{}}  {:<5} {}\n", "name", width, "op", op_width, "type", "shape");
            }
            fmt::print("{:<{}}  {:<{}}  {:<5} {}\n", printable(n.name), width, n.op, op_width, n.type, shape(n.ne));
        }
    }
    return shown;
}

}  // namespace moescope::cli
