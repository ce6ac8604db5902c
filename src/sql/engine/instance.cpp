#include "sql/engine/instance.hpp"

#include "core/error.hpp"
#include "sql/engine/run_query.hpp"

namespace moescope::sql {

instance::instance() {
    char *        failure = nullptr;
    duckdb_config config  = nullptr;
    duckdb().create_config(&config);
    duckdb().set_config(config, "autoinstall_known_extensions", "false");
    duckdb().set_config(config, "autoload_known_extensions", "false");
    const bool failed = duckdb().open_ext(nullptr, &database_, config, &failure) == DuckDBError;
    duckdb().destroy_config(&config);
    if (failed || duckdb().connect(database_, &connection_) == DuckDBError) {
        const std::string reason = one_line(failure);
        duckdb().free(failure);
        duckdb().close(&database_);
        throw error("DuckDB does not start: " + reason);
    }
}

instance::~instance() {
    duckdb().disconnect(&connection_);
    duckdb().close(&database_);
}

void instance::set(const std::string & name, const std::string & value) const {
    run_query(connection_, "SET " + name + " = " + value);
}

}  // namespace moescope::sql
