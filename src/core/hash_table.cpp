#include "core/hash_table.hpp"

#include <algorithm>
#include <string>

#include "core/error.hpp"

namespace moescope {

hash_table_remap::hash_table_remap(const std::vector<int32_t> & kept, uint32_t n_expert, uint32_t k)
    : new_id_(n_expert, -1),
      n_keep_(static_cast<int32_t>(kept.size())),
      k_(k) {
    if (k > kept.size()) {
        throw error("the hash table has " + std::to_string(k) + " experts per token, more than the " +
                    std::to_string(kept.size()) + " that are kept");
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
                throw error("the hash table names expert " + std::to_string(row[j]) + " of " +
                            std::to_string(new_id_.size()));
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

void replace_in_table(std::vector<int32_t> & ids, const std::vector<bool> & stays, uint32_t k) {
    std::vector<int32_t> kept;
    for (size_t e = 0; e < stays.size(); ++e) {
        if (stays[e]) {
            kept.push_back(static_cast<int32_t>(e));
        }
    }
    hash_table_remap(kept, static_cast<uint32_t>(stays.size()), k).apply(ids.data(), ids.size() / k);
    for (int32_t & id : ids) {
        id = kept[static_cast<size_t>(id)];
    }
}

}  // namespace moescope
