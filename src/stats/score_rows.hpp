#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/routing.hpp"
#include "stats/removal.hpp"
#include "stats/saliency.hpp"

namespace moescope::stats {

// Adds the rows of one block in one ubatch to the sums of sum_set::all. Throws error where a column that one of the block's
// sums needs is missing.
class score_rows {
public:
    // `gate`: the column of the gate weights that count.
    score_rows(saliency_block & to, const block_rows & rows, column gate);

    void add_row(uint32_t row, int64_t label);  // label -1: it counts for none

private:
    const float * need(column c) const;
    const float * row_of(const float * values, column c, uint32_t row) const;
    double        shift_of(uint32_t row) const;  // max(0, 1 − cos(h, h + y))
    void          add_pairs(uint32_t row);
    void          add_others(uint32_t row, int64_t label);

    saliency_block &   to_;
    const block_rows & rows_;
    const float *      gate_;
    const float *      norm_;
    const float *      gram_ = nullptr, *peaks_ = nullptr, *raw_ = nullptr, *final_ = nullptr, *next_ = nullptr;
    const float *      probs_ = nullptr;  // where removal errors spread
    std::optional<removal_errors> removal_;
    std::vector<double>           gated_;  // [k] g·‖f‖ of the row
};

}  // namespace moescope::stats
