#pragma once

#include <string>
#include <vector>

#include "sql/engine/table.hpp"

namespace moescope::sql {

// What the tables of one database read; must outlive its connections.
struct catalog {
    std::vector<run> runs;
    std::string      model;   // the GGUF file; empty: none
    bounds_by_table  bounds;  // of the query at hand
};

// Registers every table as a table function, moescope_NAME(), and as a view of its name with comments on its columns.
void register_tables(duckdb_connection connection, const catalog & c);

// "moescope_selections"
std::string function_name(const table & t);

}  // namespace moescope::sql
