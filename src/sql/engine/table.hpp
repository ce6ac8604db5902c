#pragma once

// What the tables are to DuckDB: columns, and a scan that fills its vectors a chunk at a time.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sql/engine/bounds.hpp"
#include "sql/engine/duckdb.hpp"
#include "sql/run.hpp"

namespace moescope::sql {

enum class column_type { integer, bigint, real, double_, text, phase, integers, reals };

struct table_column {
    const char * name;
    column_type  type;
    const char * comment;  // for .schema, without a final stop
};

// DuckDB's type; the caller destroys it.
duckdb_logical_type make_type(column_type type);
const char *        sql_name(column_type type);  // "INTEGER", "FLOAT[]"

// One run's rows, from the first to the last.
class table_scan {
public:
    virtual ~table_scan() = default;
    // Fills the columns that were asked for. Returns how many rows, at most duckdb().vector_size(); 0 at the end. Throws error where the run is damaged.
    virtual uint64_t fill(duckdb_data_chunk out) = 0;
};

// A column that is asked for: its index in table::columns, and its place in the chunk.
struct scan_column {
    size_t which, place;
};

// What a query asks of a table.
struct scan_request {
    std::vector<scan_column> columns;
    row_bounds               bounds;  // rows outside may be left out
};

struct table {
    const char *              name;
    const char *              comment;
    std::vector<table_column> columns;
    std::unique_ptr<table_scan> (*scan)(const run & r, const scan_request & request, const std::string & model);
};

const std::vector<table> & all_tables();

}  // namespace moescope::sql
