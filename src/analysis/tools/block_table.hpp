#pragma once

#include <algorithm>
#include <deque>
#include <numeric>
#include <utility>
#include <vector>

#include "core/routing.hpp"

namespace moescope::analysis {

// [n_tokens] the row that a block computed for each token of the ubatch, -1: none.
inline void rows_by_token(const block_rows & rows, uint32_t n_tokens, std::vector<int64_t> & row_of_token) {
    row_of_token.assign(n_tokens, -1);
    for (uint32_t r = 0; r < rows.n_rows; ++r) {
        if (const int32_t t = rows.token_of(r); t >= 0) {
            row_of_token[static_cast<size_t>(t)] = r;
        }
    }
}

// Indices of n blocks in the order of (layer, block); layout_of(i) gives the block's layout.
template <class LayoutOf>
std::vector<size_t> by_layer_and_block(size_t n, LayoutOf && layout_of) {
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        const block_layout &x = layout_of(a), &y = layout_of(b);
        return std::pair(x.layer, x.block) < std::pair(y.layer, y.block);
    });
    return order;
}

// One T for each MoE block (layer, block) that was seen, whatever graph it was part of.
// T is made from the block's layout; references stay valid.
template <class T>
class block_table {
public:
    block_table()                                = default;
    block_table(block_table &&)                  = default;
    block_table & operator=(block_table &&)      = default;
    block_table(const block_table &)             = delete;  // places_ points into values_
    block_table & operator=(const block_table &) = delete;

    // hint: the block's index in its graph, which usually is its index here.
    T & at(const block_layout & l, size_t hint) { return *places_[index(l, hint)]; }

    // The number of the block here, in order of appearance.
    size_t index(const block_layout & l, size_t hint) {
        if (hint < keys_.size() && keys_[hint] == key(l)) {
            return hint;
        }
        const auto it = std::find(keys_.begin(), keys_.end(), key(l));
        if (it == keys_.end()) {
            keys_.push_back(key(l));
            places_.push_back(&values_.emplace_back(l));
            return keys_.size() - 1;
        }
        return static_cast<size_t>(it - keys_.begin());
    }

    size_t    size() const { return values_.size(); }
    T &       operator[](size_t i) { return *places_[i]; }
    const T & operator[](size_t i) const { return *places_[i]; }

    // By layer and block.
    std::vector<const T *> sorted() const {
        std::vector<size_t> order(values_.size());
        std::iota(order.begin(), order.end(), size_t{0});
        std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys_[a] < keys_[b]; });
        std::vector<const T *> out;
        for (const size_t i : order) {
            out.push_back(places_[i]);
        }
        return out;
    }

private:
    using block_key = std::pair<int32_t, int32_t>;
    static block_key key(const block_layout & l) { return {l.layer, l.block}; }

    std::vector<block_key> keys_;
    std::deque<T>          values_;  // in order of appearance
    std::vector<T *>       places_;  // of the values, for speed
};

}  // namespace moescope::analysis
