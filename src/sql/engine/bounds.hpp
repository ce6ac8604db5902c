#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace moescope::sql {

// Which integers: first to last, both included. Unlimited ranges hold unknown values as well, others do not.
struct range {
    int64_t first = INT64_MIN, last = INT64_MAX;

    bool all() const { return first == INT64_MIN && last == INT64_MAX; }
    bool has(int64_t v) const { return v >= first && v <= last; }
};

// The rows that a query can need of a table. Every row outside is one that its conditions refuse.
struct row_bounds {
    range               layer, sequence;
    std::array<bool, 2> phases         = {true, true};  // by enum phase
    bool                unknown_phases = true;          // rows without a known token

    bool all_phases() const { return phases[0] && phases[1] && unknown_phases; }
};

// By a table's name. Tables that are not there: all rows.
using bounds_by_table = std::map<std::string, row_bounds>;

}  // namespace moescope::sql
