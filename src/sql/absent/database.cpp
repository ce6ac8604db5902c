// Without DuckDB's header there is no database. Whoever wants one is told how to get it.

#include "sql/database.hpp"

#include "core/error.hpp"

namespace moescope::sql {

namespace {

[[noreturn]] void throw_absent() {
    throw error("this moescope was built without DuckDB, which SQL and Parquet need")
        .fix("run scripts/setup, which fetches it, and build again");
}

}  // namespace

struct database::state {};

database::database(const database_options &) {
    throw_absent();
}
database::~database() = default;

std::unique_ptr<query_result> database::query(const std::string &) {
    throw_absent();
}
void database::write_parquet(const std::string &, const std::vector<std::pair<std::string, std::string>> &, uint64_t) {
    throw_absent();
}

std::string schema_text(bool) {
    throw_absent();
}

}  // namespace moescope::sql
