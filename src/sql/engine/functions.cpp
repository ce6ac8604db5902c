// The tables as DuckDB's table functions: its callbacks in terms of table_scan.

#include "sql/engine/functions.hpp"

#include <atomic>
#include <exception>

#include "core/error.hpp"
#include "sql/engine/run_query.hpp"
#include "sql/text.hpp"

namespace moescope::sql {

namespace {

// What a function is told of when it is registered.
struct registered {
    const table &   t;
    const catalog & c;
};

// One scan of a query. Each thread takes whole runs of it.
struct shared_scan {
    const registered *  what;
    scan_request        request;
    std::atomic<size_t> next_run{0};
};

struct thread_scan {
    std::unique_ptr<table_scan> current;
};

template <class T>
void destroy(void * object) {
    delete static_cast<T *>(object);
}

void bind(duckdb_bind_info info) {
    const auto * r = static_cast<const registered *>(duckdb().bind_get_extra_info(info));
    for (const table_column & c : r->t.columns) {
        duckdb_logical_type type = make_type(c.type);
        duckdb().bind_add_result_column(info, c.name, type);
        duckdb().destroy_logical_type(&type);
    }
}

void init(duckdb_init_info info) {
    const auto * r    = static_cast<const registered *>(duckdb().init_get_extra_info(info));
    auto *       scan = new shared_scan{r, {}, {}};
    for (idx_t i = 0; i < duckdb().init_get_column_count(info); ++i) {
        // count(*) asks for a column that no table has, and looks at the number of rows alone.
        if (const idx_t which = duckdb().init_get_column_index(info, i); which < r->t.columns.size()) {
            scan->request.columns.push_back({which, i});
        }
    }
    if (const auto it = r->c.bounds.find(r->t.name); it != r->c.bounds.end()) {
        scan->request.bounds = it->second;
    }
    duckdb().init_set_init_data(info, scan, destroy<shared_scan>);
    duckdb().init_set_max_threads(info, r->c.runs.size());
}

void init_thread(duckdb_init_info info) {
    duckdb().init_set_init_data(info, new thread_scan, destroy<thread_scan>);
}

uint64_t fill(shared_scan & shared, thread_scan & mine, duckdb_data_chunk out) {
    const catalog & c = shared.what->c;
    for (;;) {
        if (mine.current == nullptr) {
            const size_t i = shared.next_run.fetch_add(1);
            if (i >= c.runs.size()) {
                return 0;
            }
            mine.current = shared.what->t.scan(c.runs[i], shared.request, c.model);
        }
        if (const uint64_t n = mine.current->fill(out)) {
            return n;
        }
        mine.current.reset();
    }
}

void execute(duckdb_function_info info, duckdb_data_chunk out) {
    auto & shared = *static_cast<shared_scan *>(duckdb().function_get_init_data(info));
    auto & mine   = *static_cast<thread_scan *>(duckdb().function_get_local_init_data(info));
    try {  // DuckDB is called as C, so nothing may be thrown through it
        duckdb().data_chunk_set_size(out, fill(shared, mine, out));
    } catch (const std::exception & e) {
        duckdb().function_set_error(info, e.what());
    }
}

void create_view(duckdb_connection connection, const table & t) {
    run_query(connection, std::string("CREATE VIEW ") + t.name + " AS FROM " + function_name(t) + "()");
    run_query(connection, std::string("COMMENT ON VIEW ") + t.name + " IS " + quoted(t.comment, '\''));
    for (const table_column & c : t.columns) {
        run_query(connection, std::string("COMMENT ON COLUMN ") + t.name + "." + quoted(c.name, '"') + " IS " +
                                  quoted(c.comment, '\''));
    }
}

}  // namespace

std::string function_name(const table & t) {
    return std::string("moescope_") + t.name;
}

void register_tables(duckdb_connection connection, const catalog & c) {
    for (const table & t : all_tables()) {
        duckdb_table_function f = duckdb().create_table_function();
        duckdb().table_function_set_name(f, function_name(t).c_str());
        duckdb().table_function_set_extra_info(f, new registered{t, c}, destroy<registered>);
        duckdb().table_function_set_bind(f, bind);
        duckdb().table_function_set_init(f, init);
        duckdb().table_function_set_local_init(f, init_thread);
        duckdb().table_function_set_function(f, execute);
        duckdb().table_function_supports_projection_pushdown(f, true);
        const bool failed = duckdb().register_table_function(connection, f) == DuckDBError;
        duckdb().destroy_table_function(&f);
        if (failed) {
            throw error(std::string("DuckDB refuses the table ") + t.name);
        }
        create_view(connection, t);
    }
}

}  // namespace moescope::sql
