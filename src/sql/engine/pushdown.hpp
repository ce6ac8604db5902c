#pragma once

#include <string>

#include "sql/engine/bounds.hpp"
#include "sql/engine/instance.hpp"

namespace moescope::sql {

// Says which rows of our tables a statement can need. DuckDB's C API tells a table function which columns are asked for,
// but not which conditions stand on them. DuckDB's own tables do get conditions, and EXPLAIN shows them. So a second
// DuckDB holds tables of the same names and columns as ours, without a row. The plan that it makes for the statement says
// of each scan which conditions are pushed down to it. They hold for our tables as well, because a plan is right whatever
// the rows are; what DuckDB would conclude from the rows themselves is switched off.
//
// What is not understood is not used: DuckDB checks every condition itself, whatever a scan left out.
class planner {
public:
    planner();

    // By table name, of the tables that the statement scans. Empty where it cannot be planned, for example because it
    // speaks of tables that a user has made.
    bounds_by_table needed_rows(const std::string & statement) const;

private:
    instance engine_;
};

// The same of a plan as EXPLAIN (FORMAT json) prints it.
bounds_by_table bounds_of_plan(const std::string & json);

}  // namespace moescope::sql
