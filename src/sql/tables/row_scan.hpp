#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "analysis/tools/labelled_requests.hpp"
#include "core/routing.hpp"
#include "sql/engine/out_column.hpp"
#include "sql/engine/table.hpp"
#include "trace/source.hpp"

namespace moescope::sql {

// Columns that every table of rows has, in this order and before its own.
enum class row_column : size_t {
    run,
    token_index,
    ubatch,
    batch,
    time_ns,
    sequence,
    position,
    phase,
    prompt,
    label,
    token,
    text,
    layer,
    block,
    n_common,
};
inline constexpr size_t n_common = static_cast<size_t>(row_column::n_common);

std::vector<table_column> with_common_columns(std::vector<table_column> own);

// The run from its beginning. Throws error where it holds counts only.
std::unique_ptr<trace::trace_source> open_rows(const run & r);

// Whether one of two columns is asked for.
bool asks_for(const scan_request & request, size_t a, size_t b);

// Rows of one block that stand side by side, each with `per_row` entries (its selections, its scores, or itself):
// entries begin to end of them.
struct row_piece {
    const routed_ubatch * ubatch;
    const block_rows *    rows;
    size_t                per_row;
    size_t                begin, end;

    size_t size() const { return end - begin; }
    // Calls f(row, place, n) for each row: its n entries stand from place on, counted from 0.
    template <class F>
    void each_row(F && f) const {
        for (size_t at = begin; at < end;) {
            const size_t row = at / per_row, stop = std::min((row + 1) * per_row, end);
            f(static_cast<uint32_t>(row), at - begin, stop - at);
            at = stop;
        }
    }
};

// Goes through a run's rows inside the bounds. A table says how many entries a row has, and writes its own columns.
class row_scan : public table_scan {
public:
    row_scan(const run & r, scan_request request);
    uint64_t fill(duckdb_data_chunk out) final;

protected:
    // Entries of each of the block's rows; 0: none of this block.
    virtual size_t per_row(const block_rows & rows) const = 0;
    // column: counted from the table's first own one. Writes piece.size() values from place `at` on.
    virtual void write(size_t column, const row_piece & piece, out_column & to, size_t at) = 0;

private:
    bool                next_rows();
    bool                wanted(const block_rows & rows, uint32_t row) const;
    bool                all_rows() const;
    void                write_common(row_column column, const row_piece & piece, out_column & to, size_t at);
    void                write_token(row_column column, const row_piece & piece, out_column & to, size_t at);
    const std::string * text_of(int32_t token);
    void                write_label(const row_piece & piece, out_column & to, size_t at) const;

    std::string                              run_;
    scan_request                             request_;
    std::unique_ptr<trace::trace_source>     source_;
    analysis::labelled_requests              requests_;
    bool                                     follows_;  // whether a column asks for requests
    routed_ubatch                            ubatch_;
    uint64_t                                 n_ubatches_ = 0, first_token_ = 0;  // of the ubatch at hand
    size_t                                   block_ = 0;                         // where to look on
    uint32_t                                 row_   = 0;
    row_piece                                piece_ = {};  // what is left of it to write
    std::unordered_map<int32_t, std::string> texts_;
};

}  // namespace moescope::sql
