#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sql/result.hpp"
#include "sql/run.hpp"

namespace moescope::sql {

struct database_options {
    std::vector<run> runs;
    std::string      model;           // a GGUF file, for the sizes of experts; empty: none
    uint64_t         memory  = 0;     // bytes that DuckDB may use; 0: its own choice
    unsigned         threads = 0;     // 0: one per core
    std::string      spill;           // a folder for what does not fit into memory; empty: nothing goes to disk
    int              output = -1;     // an open file or pipe, for write_parquet
    bool             unsafe = false;  // statements may read and write files, and load extensions
};

// The runs as tables of a DuckDB database that is in memory and dies with this object. One thread at a time.
class database {
public:
    // Throws error when there is no library.
    explicit database(const database_options & options);
    ~database();
    database(const database &)             = delete;
    database & operator=(const database &) = delete;

    // Runs one statement. Its rows are computed as they are fetched, where DuckDB can do that; the next statement ends
    // them. Throws error with DuckDB's reason.
    std::unique_ptr<query_result> query(const std::string & statement);

    // Writes the rows of a SELECT as a Parquet file, compressed with zstd, into options.output, from front to back.
    // metadata: goes into the file's key-value metadata. row_group: rows of a row group, a multiple of 2048. Throws error.
    void write_parquet(const std::string & select, const std::vector<std::pair<std::string, std::string>> & metadata,
                       uint64_t row_group = 122'880);

private:
    struct state;
    std::unique_ptr<state> state_;
};

// The tables with their columns and what these mean, as CREATE TABLE statements; or their names alone, "a, b, c".
std::string schema_text(bool with_columns);

}  // namespace moescope::sql
