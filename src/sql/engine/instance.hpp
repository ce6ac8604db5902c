#pragma once

#include "sql/engine/duckdb.hpp"

namespace moescope::sql {

// A DuckDB of our own, in memory, with one connection. Loads no extensions by itself.
class instance {
public:
    instance();  // throws error when there is no library, or it does not start
    ~instance();
    instance(const instance &)             = delete;
    instance & operator=(const instance &) = delete;

    duckdb_connection connection() const { return connection_; }

    void set(const std::string & name, const std::string & value) const;  // SET name = value

private:
    duckdb_database   database_   = nullptr;
    duckdb_connection connection_ = nullptr;
};

}  // namespace moescope::sql
