#pragma once

// DuckDB, through the C API of its own header. The library is optional: it is loaded when it is first needed, from the
// first of these places that has it:
//
//     $MOESCOPE_DUCKDB                            the library, or the folder that it lies in
//     the dynamic linker's path                   libduckdb.so
//     ~/.cache/moescope/duckdb-VERSION            where scripts/setup unpacks it (or below $MOESCOPE_CACHE)

#include <duckdb.h>

#include <string>

namespace moescope::sql {

// Every function of the C API that moescope calls, without its prefix.
#define MOESCOPE_DUCKDB_FUNCTIONS(F)               \
    F(bind_add_result_column)                      \
    F(bind_get_extra_info)                         \
    F(bind_set_bind_data)                          \
    F(bind_set_cardinality)                        \
    F(close)                                       \
    F(column_count)                                \
    F(column_logical_type)                         \
    F(column_name)                                 \
    F(connect)                                     \
    F(create_config)                               \
    F(create_enum_type)                            \
    F(create_enum_value)                           \
    F(create_int32)                                \
    F(create_list_type)                            \
    F(create_logical_type)                         \
    F(create_table_function)                       \
    F(create_varchar_length)                       \
    F(data_chunk_get_size)                         \
    F(data_chunk_get_vector)                       \
    F(data_chunk_set_size)                         \
    F(decimal_internal_type)                       \
    F(decimal_scale)                               \
    F(destroy_config)                              \
    F(destroy_data_chunk)                          \
    F(destroy_logical_type)                        \
    F(destroy_prepare)                             \
    F(destroy_result)                              \
    F(destroy_table_function)                      \
    F(destroy_value)                               \
    F(disconnect)                                  \
    F(enum_dictionary_value)                       \
    F(enum_internal_type)                          \
    F(execute_prepared_streaming)                  \
    F(fetch_chunk)                                 \
    F(free)                                        \
    F(function_get_init_data)                      \
    F(function_get_local_init_data)                \
    F(function_set_error)                          \
    F(get_type_id)                                 \
    F(init_get_bind_data)                          \
    F(init_get_column_count)                       \
    F(init_get_column_index)                       \
    F(init_get_extra_info)                         \
    F(init_set_error)                              \
    F(init_set_init_data)                          \
    F(init_set_max_threads)                        \
    F(list_type_child_type)                        \
    F(list_vector_get_child)                       \
    F(list_vector_get_size)                        \
    F(list_vector_reserve)                         \
    F(list_vector_set_size)                        \
    F(open_ext)                                    \
    F(prepare)                                     \
    F(prepare_error)                               \
    F(prepared_statement_type)                     \
    F(query)                                       \
    F(register_table_function)                     \
    F(result_error)                                \
    F(result_return_type)                          \
    F(set_config)                                  \
    F(struct_type_child_count)                     \
    F(struct_type_child_name)                      \
    F(struct_type_child_type)                      \
    F(struct_vector_get_child)                     \
    F(table_function_set_bind)                     \
    F(table_function_set_extra_info)               \
    F(table_function_set_function)                 \
    F(table_function_set_init)                     \
    F(table_function_set_local_init)               \
    F(table_function_set_name)                     \
    F(table_function_supports_projection_pushdown) \
    F(vector_assign_string_element_len)            \
    F(vector_ensure_validity_writable)             \
    F(vector_get_data)                             \
    F(vector_get_validity)                         \
    F(vector_reference_value)                      \
    F(vector_size)

// duckdb().query(…) calls duckdb_query(…).
struct duckdb_functions {
#define MOESCOPE_DECLARE(name) decltype(&::duckdb_##name) name = nullptr;
    MOESCOPE_DUCKDB_FUNCTIONS(MOESCOPE_DECLARE)
#undef MOESCOPE_DECLARE
};

// Throws error when no library is found, saying how to get one, or when the one found is too old.
const duckdb_functions & duckdb();

}  // namespace moescope::sql
