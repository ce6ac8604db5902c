#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "analysis/tools/cache_policy.hpp"

namespace moescope::analysis {

// Grows a table by slice number as slices appear.
template <class T>
T & at_slice(std::vector<T> & table, uint32_t slice) {
    if (slice >= table.size()) {
        table.resize(slice + 1);
    }
    return table[slice];
}

// A pool that evicts what is worth least, of equals the least recently used. The worth of a slice changes only when it is
// accessed, so a heap finds the next to go.
class heap_pool : public cache_pool {
public:
    explicit heap_pool(uint32_t n_slot) : n_slot_(n_slot) {}

    bool access(uint32_t slice) final {
        evicted_ = no_slice;
        if (n_slot_ == 0) {
            return false;
        }
        use &      u   = at_slice(uses_, slice);
        const bool hit = u.place != no_slice;
        u.worth        = worth(slice);
        u.last         = ++clock_;
        if (hit) {
            sink(u.place);
        } else if (heap_.size() < n_slot_) {
            u.place = static_cast<uint32_t>(heap_.size());
            heap_.push_back(slice);
            rise(u.place);
        } else {
            evicted_              = heap_[0];
            uses_[evicted_].place = no_slice;
            heap_[0]              = slice;
            u.place               = 0;
            sink(0);
        }
        return hit;
    }

protected:
    virtual double worth(uint32_t slice) = 0;  // of an access now; called once for each

private:
    struct use {
        double   worth = 0;
        uint64_t last  = 0;
        uint32_t place = no_slice;  // in the heap; no_slice: not resident
    };
    // Whether a is to go before b.
    bool before(uint32_t a, uint32_t b) const {
        const use &x = uses_[a], &y = uses_[b];
        return x.worth != y.worth ? x.worth < y.worth : x.last < y.last;
    }
    void swap(uint32_t i, uint32_t j) {
        std::swap(heap_[i], heap_[j]);
        uses_[heap_[i]].place = i;
        uses_[heap_[j]].place = j;
    }
    void rise(uint32_t i) {
        for (; i > 0 && before(heap_[i], heap_[(i - 1) / 2]); i = (i - 1) / 2) {
            swap(i, (i - 1) / 2);
        }
    }
    void sink(uint32_t i) {
        for (;;) {
            uint32_t first = i;
            for (const uint32_t child : {2 * i + 1, 2 * i + 2}) {
                first = child < heap_.size() && before(heap_[child], heap_[first]) ? child : first;
            }
            if (first == i) {
                return;
            }
            swap(i, first);
            i = first;
        }
    }

    uint32_t              n_slot_;
    uint64_t              clock_ = 0;
    std::vector<use>      uses_;
    std::vector<uint32_t> heap_;  // residents; at its root the next to go
};

}  // namespace moescope::analysis
