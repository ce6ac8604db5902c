#include "sql/engine/fetched_result.hpp"

#include "core/error.hpp"
#include "sql/engine/value_text.hpp"

namespace moescope::sql {

fetched_result::fetched_result(std::unique_ptr<owned_result> result) : fetched_result() {
    result_ = std::move(result);
    describe();
}

fetched_result::~fetched_result() {
    duckdb().destroy_data_chunk(&chunk_);
    for (duckdb_logical_type & type : types_) {
        duckdb().destroy_logical_type(&type);
    }
}

void fetched_result::describe() {
    const idx_t n = duckdb().column_count(result_->get());
    for (idx_t i = 0; i < n; ++i) {
        types_.push_back(duckdb().column_logical_type(result_->get(), i));
        columns_.push_back({duckdb().column_name(result_->get(), i), type_name(types_[i]), is_number(types_[i])});
        if (columns_[i].type.empty()) {
            throw error("values of the type of column " + columns_[i].name + " cannot be shown")
                .fix("make them text in the query: CAST(… AS VARCHAR)");
        }
    }
}

bool fetched_result::next_chunk() {
    duckdb().destroy_data_chunk(&chunk_);
    chunk_ = duckdb().fetch_chunk(*result_->get());
    if (chunk_ == nullptr) {
        const char * failure = duckdb().result_error(result_->get());
        if (failure != nullptr && *failure != '\0') {
            throw error(one_line(failure));
        }
        return false;
    }
    row_    = 0;
    n_rows_ = duckdb().data_chunk_get_size(chunk_);
    return true;
}

bool fetched_result::next(std::vector<value> & row) {
    while (row_ == n_rows_) {
        if (!next_chunk()) {
            row_ = n_rows_ = 0;
            return false;
        }
    }
    row.resize(columns_.size());
    for (size_t c = 0; c < row.size(); ++c) {
        row[c] = value_at(duckdb().data_chunk_get_vector(chunk_, c), types_[c], row_);
    }
    ++row_;
    return true;
}

}  // namespace moescope::sql
