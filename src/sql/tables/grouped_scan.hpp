#pragma once

#include "analysis/frequency.hpp"
#include "sql/engine/out_column.hpp"
#include "sql/engine/table.hpp"
#include "sql/tables/row_scan.hpp"

namespace moescope::sql {

// Selections of which a query asks no more than run, phase, layer, block and expert: all those alike in these are one and
// the same to it. They are counted first, and then handed out as so many rows side by side, each column of a chunk one
// value. So the query costs little more than the analysis of frequency does.
class grouped_scan final : public table_scan {
public:
    static bool fits(const scan_request & request, size_t expert_column);

    grouped_scan(const run & r, scan_request request);
    uint64_t fill(duckdb_data_chunk out) override;

private:
    struct group {
        int32_t  layer, block, expert;
        int32_t  phase;  // -1: unknown
        uint64_t n;      // rows that are still to be handed out
    };

    std::string        run_;
    scan_request       request_;
    std::vector<group> groups_;  // the last one is handed out first
};

}  // namespace moescope::sql
