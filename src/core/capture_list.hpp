#pragma once

#include <string>

#include "core/column_set.hpp"

namespace moescope {

// What is asked to be recorded: columns of each row, and whether the weight tensors that each graph reads.
struct capture_list {
    constexpr capture_list() = default;
    constexpr capture_list(column_set what, bool with_access = false) : columns(what), access(with_access) {}
    static constexpr capture_list all() { return {column_set::all(), true}; }

    column_set columns;
    bool       access = false;  // "access": the weight tensors a step reads, in order

    constexpr bool operator==(const capture_list & o) const { return columns == o.columns && access == o.access; }
    constexpr bool operator!=(const capture_list & o) const { return !(*this == o); }
};

// Whether the model that is captured can be loaded with one expert more than it uses.
enum class runner_up { refused, possible };

// "ids,weights,access" or "all" -> list. Ids and weights are always part of it. Throws usage_error naming the bad item, and
// for the runner-up where it is refused: a program that loads its model itself does not compute it.
capture_list parse_capture_list(const std::string & text, runner_up next = runner_up::refused);

// The inverse, columns first and in their order: "ids,weights,norms,access".
std::string to_string(const capture_list & list);

}  // namespace moescope
