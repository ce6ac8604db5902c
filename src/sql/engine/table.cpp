#include "sql/engine/table.hpp"

#include "sql/tables/tables.hpp"

namespace moescope::sql {

namespace {

duckdb_logical_type list_of(duckdb_type element) {
    duckdb_logical_type child = duckdb().create_logical_type(element);
    duckdb_logical_type list  = duckdb().create_list_type(child);
    duckdb().destroy_logical_type(&child);
    return list;
}

}  // namespace

duckdb_logical_type make_type(column_type type) {
    switch (type) {
        case column_type::bigint: return duckdb().create_logical_type(DUCKDB_TYPE_BIGINT);
        case column_type::real: return duckdb().create_logical_type(DUCKDB_TYPE_FLOAT);
        case column_type::double_: return duckdb().create_logical_type(DUCKDB_TYPE_DOUBLE);
        case column_type::text: return duckdb().create_logical_type(DUCKDB_TYPE_VARCHAR);
        case column_type::phase: {
            const char * names[] = {"prefill", "decode"};  // in the order of enum phase
            return duckdb().create_enum_type(names, 2);
        }
        case column_type::integers: return list_of(DUCKDB_TYPE_INTEGER);
        case column_type::reals: return list_of(DUCKDB_TYPE_FLOAT);
        default: return duckdb().create_logical_type(DUCKDB_TYPE_INTEGER);
    }
}

const char * sql_name(column_type type) {
    switch (type) {
        case column_type::bigint: return "BIGINT";
        case column_type::real: return "FLOAT";
        case column_type::double_: return "DOUBLE";
        case column_type::text: return "VARCHAR";
        case column_type::phase: return "ENUM('prefill', 'decode')";
        case column_type::integers: return "INTEGER[]";
        case column_type::reals: return "FLOAT[]";
        default: return "INTEGER";
    }
}

const std::vector<table> & all_tables() {
    static const std::vector<table> all = {selections_table(), rows_table(),   tokens_table(),
                                           experts_table(),    scores_table(), model_table()};
    return all;
}

}  // namespace moescope::sql
