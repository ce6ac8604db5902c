#include "prune/hash_table.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.hpp"

namespace moescope::prune {

hash_table_remap::hash_table_remap(const std::vector<int32_t> & kept, uint32_t n_expert, uint32_t k)
    : new_id_(n_expert, -1),
      n_keep_(static_cast<int32_t>(kept.size())),
      k_(k) {
    if (k > kept.size()) {
        throw error(
            fmt::format("the hash table has {} experts per token, more than the {} that are kept", k, kept.size()));
    }
    for (size_t i = 0; i < kept.size(); ++i) {
        new_id_[static_cast<size_t>(kept[i])] = static_cast<int32_t>(i);
    }
}

int32_t hash_table_remap::next_not_in(const int32_t * row) {
    while (std::find(row, row + k_, turn_) != row + k_) {
        turn_ = (turn_ + 1) % n_keep_;
    }
    const int32_t id = turn_;
    turn_            = (turn_ + 1) % n_keep_;
    return id;
}

void hash_table_remap::apply(int32_t * ids, uint64_t n_rows) {
    for (uint64_t r = 0; r < n_rows; ++r) {
        int32_t * row = ids + r * k_;
        // All that stay first: a replacement must not take an id that a later place of the row keeps.
        for (uint32_t j = 0; j < k_; ++j) {
            if (row[j] < 0 || static_cast<size_t>(row[j]) >= new_id_.size()) {
                throw error(fmt::format("the hash table names expert {} of {}", row[j], new_id_.size()));
            }
            row[j] = new_id_[static_cast<size_t>(row[j])];
        }
        for (uint32_t j = 0; j < k_; ++j) {
            if (row[j] < 0) {
                row[j] = next_not_in(row);
                ++n_replaced_;
            }
        }
    }
}

}  // namespace moescope::prune
