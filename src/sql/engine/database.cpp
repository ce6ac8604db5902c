#include "sql/database.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "sql/engine/fetched_result.hpp"
#include "sql/engine/functions.hpp"
#include "sql/engine/instance.hpp"
#include "sql/engine/pushdown.hpp"
#include "sql/text.hpp"

namespace moescope::sql {

namespace {

// An open file under a name.
std::string path_of(int fd) {
    return "/dev/fd/" + std::to_string(fd);
}

std::string padded(std::string text, size_t width) {
    text.resize(std::max(text.size() + 1, width), ' ');
    return text;
}

}  // namespace

struct database::state {
    catalog  tables;
    int      output;
    instance engine;
    planner  plans;
    bool     own_names = false;  // a statement has made tables or views, whose names may hide ours from the planner
};

database::database(const database_options & o) : state_(std::make_unique<state>()) {
    state_->tables          = {o.runs, o.model, {}};
    state_->output          = o.output;
    const instance & engine = state_->engine;
    register_tables(engine.connection(), state_->tables);
    if (o.memory > 0) {
        engine.set("memory_limit", quoted(std::to_string(o.memory) + "B", '\''));
    }
    if (o.threads > 0) {
        engine.set("threads", std::to_string(o.threads));
    }
    engine.set("temp_directory", quoted(o.spill, '\''));
    if (!o.unsafe) {
        // In this order: neither what is allowed nor any other setting can be changed afterwards. Some settings name files
        // that DuckDB then writes, whatever is allowed.
        engine.set("allowed_paths", o.output < 0 ? "[]" : "['" + path_of(o.output) + "']");
        engine.set("enable_external_access", "false");
        engine.set("lock_configuration", "true");
    }
}

database::~database() = default;

std::unique_ptr<query_result> database::query(const std::string & statement) {
    state_->tables.bounds = state_->own_names ? bounds_by_table() : state_->plans.needed_rows(statement);

    duckdb_prepared_statement prepared = nullptr;
    auto                      result   = std::make_unique<owned_result>();
    std::string               failure;
    if (duckdb().prepare(state_->engine.connection(), statement.c_str(), &prepared) == DuckDBError) {
        failure = one_line(duckdb().prepare_error(prepared));
    } else {
        const duckdb_statement_type type = duckdb().prepared_statement_type(prepared);
        state_->own_names |= type != DUCKDB_STATEMENT_TYPE_SELECT && type != DUCKDB_STATEMENT_TYPE_EXPLAIN;
        if (duckdb().execute_prepared_streaming(prepared, result->get()) == DuckDBError) {
            failure = one_line(duckdb().result_error(result->get()));
        }
    }
    duckdb().destroy_prepare(&prepared);
    if (!failure.empty()) {
        error e(failure);
        if (failure.rfind("Permission Error", 0) == 0) {
            e.fix("--unsafe lets a query reach more than the files that are named");
        }
        throw e;
    }
    return std::make_unique<fetched_result>(std::move(result));
}

void database::write_parquet(const std::string &                                      select,
                             const std::vector<std::pair<std::string, std::string>> & metadata, uint64_t row_group) {
    std::string pairs;
    for (const auto & [key, text] : metadata) {
        pairs += (pairs.empty() ? "" : ", ") + quoted(valid_utf8(key), '"') + ": " + quoted(valid_utf8(text), '\'');
    }
    const std::string statement = "COPY (" + select + "\n) TO '" + path_of(state_->output) +
                                  "' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false, ROW_GROUP_SIZE " +
                                  std::to_string(row_group) + (pairs.empty() ? "" : ", KV_METADATA {" + pairs + "}") +
                                  ")";
    std::vector<value> row;
    for (const auto rows = query(statement); rows->next(row);) {
    }
}

std::string schema_text(bool with_columns) {
    std::string text;
    for (const table & t : all_tables()) {
        if (!with_columns) {
            text += (text.empty() ? "" : ", ") + std::string(t.name);
            continue;
        }
        text += std::string("-- ") + t.comment + "\nCREATE TABLE " + t.name + " (\n";
        for (const table_column & c : t.columns) {
            const std::string column =
                std::string("    ") + c.name + " " + sql_name(c.type) + (&c == &t.columns.back() ? "" : ",");
            text += padded(column, 44) + "-- " + c.comment + "\n";
        }
        text += ");\n";
    }
    return text;
}

}  // namespace moescope::sql
