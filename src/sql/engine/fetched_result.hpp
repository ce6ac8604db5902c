#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sql/engine/run_query.hpp"
#include "sql/result.hpp"

namespace moescope::sql {

// Rows as DuckDB hands them out, a chunk at a time.
class fetched_result final : public query_result {
public:
    // Throws error naming a column whose type cannot be shown.
    explicit fetched_result(std::unique_ptr<owned_result> result);
    ~fetched_result() override;

    const std::vector<result_column> & columns() const override { return columns_; }
    bool                               next(std::vector<value> & row) override;

private:
    fetched_result() = default;  // what destroys the types when the other constructor throws
    void describe();
    bool next_chunk();

    std::unique_ptr<owned_result>    result_;
    std::vector<result_column>       columns_;
    std::vector<duckdb_logical_type> types_;
    duckdb_data_chunk                chunk_  = nullptr;
    idx_t                            row_    = 0;
    idx_t                            n_rows_ = 0;  // of the chunk
};

}  // namespace moescope::sql
