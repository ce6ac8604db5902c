#pragma once

#include <algorithm>
#include <deque>
#include <numeric>
#include <vector>

#include "core/routing.hpp"

namespace moescope {

// Where a block stands in a list of layouts, or of other structs that begin with a block_id; the list's size where it
// does not. hint: where it is looked for first. A block's index in its graph usually is its index in any list.
template <class Blocks>
size_t find_block(const Blocks & blocks, const block_id & wanted, size_t hint) {
    if (hint < blocks.size() && blocks[hint].id() == wanted) {
        return hint;
    }
    const auto it = std::find_if(blocks.begin(), blocks.end(), [&](const block_id & known) { return known == wanted; });
    return static_cast<size_t>(it - blocks.begin());
}

// Indices of n blocks in the order of their ids; layout_of(i) gives the block's layout.
template <class LayoutOf>
std::vector<size_t> by_layer_and_block(size_t n, LayoutOf && layout_of) {
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return layout_of(a).id() < layout_of(b).id(); });
    return order;
}

// One T for each MoE block that was seen, whatever graph it was part of.
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
        const size_t i = find_block(ids_, l, hint);
        if (i == ids_.size()) {
            ids_.push_back(l);
            places_.push_back(&values_.emplace_back(l));
        }
        return i;
    }

    // Null where the block was not seen.
    const T * find(const block_id & wanted) const {
        const size_t i = find_block(ids_, wanted, ids_.size());
        return i < ids_.size() ? places_[i] : nullptr;
    }

    size_t    size() const { return values_.size(); }
    T &       operator[](size_t i) { return *places_[i]; }
    const T & operator[](size_t i) const { return *places_[i]; }

    // By layer and block.
    std::vector<const T *> sorted() const {
        std::vector<const T *> out;
        for (const size_t i : by_layer_and_block(ids_.size(), [&](size_t b) { return ids_[b]; })) {
            out.push_back(places_[i]);
        }
        return out;
    }

private:
    std::vector<block_id> ids_;
    std::deque<T>         values_;  // in order of appearance
    std::vector<T *>      places_;  // of the values, for speed
};

}  // namespace moescope
