#pragma once

#include <string>

#include "sql/engine/duckdb.hpp"

namespace moescope::sql {

// A result that is destroyed with its owner.
class owned_result {
public:
    owned_result() = default;
    ~owned_result() { duckdb().destroy_result(&result_); }
    owned_result(const owned_result &)             = delete;
    owned_result & operator=(const owned_result &) = delete;

    duckdb_result * get() { return &result_; }

private:
    duckdb_result result_ = {};
};

// Runs statements whose result nobody needs. Throws error with DuckDB's reason, as one line.
void run_query(duckdb_connection connection, const std::string & sql);

// The first column of all rows of a result of texts. Throws as above.
std::string query_text(duckdb_connection connection, const std::string & sql, size_t column);

// DuckDB's message as one line, without the place in the statement that it draws below.
std::string one_line(const char * message);

}  // namespace moescope::sql
