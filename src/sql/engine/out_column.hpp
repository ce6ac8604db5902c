#pragma once

#include <string>
#include <vector>

#include "sql/engine/duckdb.hpp"
#include "sql/engine/table.hpp"

namespace moescope::sql {

// A vector of DuckDB's that a scan fills.
class out_column {
public:
    explicit out_column(duckdb_vector vector) : vector_(vector) {}

    template <class T>
    T * data() const {
        return static_cast<T *>(duckdb().vector_get_data(vector_));
    }
    void set_null(uint64_t row) {
        if (validity_ == nullptr) {
            duckdb().vector_ensure_validity_writable(vector_);
            validity_ = duckdb().vector_get_validity(vector_);
        }
        validity_[row / 64] &= ~(uint64_t{1} << (row % 64));
    }
    void set_null(uint64_t first, uint64_t n) {
        for (uint64_t row = first; row < first + n; ++row) {
            set_null(row);
        }
    }
    void set_text(uint64_t row, const std::string & text) const {
        duckdb().vector_assign_string_element_len(vector_, row, text.data(), text.size());
    }
    // One value for all rows of the chunk, stored once.
    void set_constant(const std::string & text) const {
        set_constant(duckdb().create_varchar_length(text.data(), text.size()));
    }
    void set_constant(int32_t number) const { set_constant(duckdb().create_int32(number)); }
    void set_constant(duckdb_value value) const {  // which it destroys
        duckdb().vector_reference_value(vector_, value);
        duckdb().destroy_value(&value);
    }

    duckdb_vector vector() const { return vector_; }

private:
    duckdb_vector vector_;
    uint64_t *    validity_ = nullptr;
};

// The vectors of a chunk for the columns that are asked for, in that order.
inline std::vector<out_column> vectors_of(duckdb_data_chunk chunk, const scan_request & request) {
    std::vector<out_column> all;
    for (const scan_column & c : request.columns) {
        all.emplace_back(duckdb().data_chunk_get_vector(chunk, c.place));
    }
    return all;
}

}  // namespace moescope::sql
