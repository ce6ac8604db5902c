#pragma once

#include <cstdint>
#include <vector>

namespace moescope {

// Rewrites tables of expert ids (one row of k ids per token id, as hash-routed layers have them) for a pruned model.
// Ids that stay get their new number. An id that goes is replaced by an expert that is not in its row already; the
// replacements take turns, so that no expert gets all the tokens of those that went. Rows with distinct ids stay so.
class hash_table_remap {
public:
    // kept: old ids, ascending; n_expert: before. Throws error when k > kept.size().
    hash_table_remap(const std::vector<int32_t> & kept, uint32_t n_expert, uint32_t k);

    // ids: [n_rows][k]. Throws error for an id outside [0, n_expert).
    void apply(int32_t * ids, uint64_t n_rows);

    uint64_t n_replaced() const { return n_replaced_; }  // ids, so far

private:
    int32_t next_not_in(const int32_t * row);

    std::vector<int32_t> new_id_;  // [n_expert] old -> new, -1: gone
    int32_t              n_keep_     = 0;
    uint32_t             k_          = 0;
    int32_t              turn_       = 0;
    uint64_t             n_replaced_ = 0;
};

// What that makes of a table for a model that keeps its experts, and its numbers, but must not use all of them: ids, k to a
// row, where stays[id] is false are replaced. Throws as hash_table_remap does.
void replace_in_table(std::vector<int32_t> & ids, const std::vector<bool> & stays, uint32_t k);

}  // namespace moescope
