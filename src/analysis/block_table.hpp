#pragma once

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "core/routing.hpp"

namespace moescope::analysis {

// One T for each MoE block (layer, block) that was seen, whatever graph it was part of.
// T is made from the block's layout; references stay valid.
template <class T>
class block_table {
public:
    // hint: the block's index in its graph, which usually is its index here.
    T & at(const block_layout & l, size_t hint) { return values_[index(l, hint)]; }

    // The number of the block here, in order of appearance.
    size_t index(const block_layout & l, size_t hint) {
        if (hint < keys_.size() && keys_[hint] == key(l)) {
            return hint;
        }
        const auto it = std::find(keys_.begin(), keys_.end(), key(l));
        if (it == keys_.end()) {
            keys_.push_back(key(l));
            values_.emplace_back(l);
            return keys_.size() - 1;
        }
        return static_cast<size_t>(it - keys_.begin());
    }

    size_t    size() const { return values_.size(); }
    T &       operator[](size_t i) { return values_[i]; }
    const T & operator[](size_t i) const { return values_[i]; }

    // By layer and block.
    std::vector<const T *> sorted() const {
        std::vector<size_t> order(values_.size());
        for (size_t i = 0; i < order.size(); ++i) {
            order[i] = i;
        }
        std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys_[a] < keys_[b]; });
        std::vector<const T *> out;
        for (const size_t i : order) {
            out.push_back(&values_[i]);
        }
        return out;
    }

private:
    using block_key = std::pair<int32_t, int32_t>;
    static block_key key(const block_layout & l) { return {l.layer, l.block}; }

    std::vector<block_key> keys_;
    std::deque<T>          values_;   // in order of appearance
};

}  // namespace moescope::analysis
