#include "sql/engine/run_query.hpp"

#include "core/error.hpp"
#include "sql/engine/fetched_result.hpp"

namespace moescope::sql {

void run_query(duckdb_connection connection, const std::string & sql) {
    owned_result result;
    if (duckdb().query(connection, sql.c_str(), result.get()) == DuckDBError) {
        throw error(one_line(duckdb().result_error(result.get())));
    }
}

std::string query_text(duckdb_connection connection, const std::string & sql, size_t column) {
    auto result = std::make_unique<owned_result>();
    if (duckdb().query(connection, sql.c_str(), result->get()) == DuckDBError) {
        throw error(one_line(duckdb().result_error(result->get())));
    }
    std::string    all;
    fetched_result rows(std::move(result));
    for (std::vector<value> row; rows.next(row);) {
        all += row.at(column).text;
    }
    return all;
}

std::string one_line(const char * message) {
    std::string text = message == nullptr ? "" : message;
    text             = text.substr(0, text.find("\n\nLINE "));
    for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos;) {
        const size_t end = text.find_first_not_of(" \n", at);
        text.replace(at, (end == std::string::npos ? text.size() : end) - at, end == std::string::npos ? "" : " ");
    }
    return text;
}

}  // namespace moescope::sql
