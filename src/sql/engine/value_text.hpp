#pragma once

#include <string>

#include "sql/engine/duckdb.hpp"
#include "sql/result.hpp"

namespace moescope::sql {

// "integer", "float[]"; empty: a type whose values cannot be shown.
std::string type_name(duckdb_logical_type type);
bool        is_number(duckdb_logical_type type);

// The value at a place of a vector of this type.
value value_at(duckdb_vector vector, duckdb_logical_type type, uint64_t at);

}  // namespace moescope::sql
