# DuckDB's C header, which scripts/setup unpacks beside its library. The library is loaded at run time, by the tool itself.
# Without the header everything else is built, and `moescope sql` says what is missing.

set(DUCKDB_VERSION 1.4.4)   # scripts/setup reads this line
find_path(DUCKDB_INCLUDE_DIR duckdb.h HINTS ${MOESCOPE_CACHE_DIR}/duckdb-${DUCKDB_VERSION})
if(NOT DUCKDB_INCLUDE_DIR)
    message(STATUS "no duckdb.h: built without SQL and Parquet (scripts/setup fetches it)")
endif()
