#include "analysis/tools/cache_policy.hpp"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

namespace moescope::analysis {

namespace {

constexpr uint32_t none = UINT32_MAX;

// Grows a table by slice number as slices appear.
template <class T>
T & at_slice(std::vector<T> & table, uint32_t slice) {
    if (slice >= table.size()) {
        table.resize(slice + 1);
    }
    return table[slice];
}

class lru_pool final : public cache_pool {
public:
    explicit lru_pool(uint32_t n_slot) : n_slot_(n_slot) {}

    bool access(uint32_t slice) override {
        if (n_slot_ == 0) {
            return false;
        }
        const bool hit = at_slice(links_, slice).resident;
        if (hit) {
            take_out(slice);
        } else if (n_ == n_slot_) {
            take_out(oldest_);
        }
        put_in_front(slice);
        return hit;
    }

private:
    struct link {  // of a list from the most recently used slice to the oldest
        uint32_t newer = none, older = none;
        bool     resident = false;
    };
    void take_out(uint32_t slice) {
        link & l                                            = links_[slice];
        (l.newer == none ? newest_ : links_[l.newer].older) = l.older;
        (l.older == none ? oldest_ : links_[l.older].newer) = l.newer;
        l.resident                                          = false;
        n_ -= 1;
    }
    void put_in_front(uint32_t slice) {
        links_[slice]                                       = {none, newest_, true};
        (newest_ == none ? oldest_ : links_[newest_].newer) = slice;
        newest_                                             = slice;
        n_ += 1;
    }

    uint32_t          n_slot_, n_ = 0, newest_ = none, oldest_ = none;
    std::vector<link> links_;
};

class lfu_pool final : public cache_pool {
public:
    explicit lfu_pool(uint32_t n_slot) : n_slot_(n_slot) {}

    bool access(uint32_t slice) override {
        if (n_slot_ == 0) {
            return false;
        }
        use &      u   = at_slice(uses_, slice);
        const bool hit = u.place != none;
        u.count += 1;
        u.last = ++clock_;
        if (hit) {
            sink(u.place);
        } else if (heap_.size() < n_slot_) {
            u.place = static_cast<uint32_t>(heap_.size());
            heap_.push_back(slice);
            rise(u.place);
        } else {
            uses_[heap_[0]].place = none;
            heap_[0]              = slice;
            u.place               = 0;
            sink(0);
        }
        return hit;
    }

private:
    struct use {
        uint64_t count = 0, last = 0;
        uint32_t place = none;  // in the heap; none: not resident
    };
    // Whether a is to go before b.
    bool before(uint32_t a, uint32_t b) const {
        const use &x = uses_[a], &y = uses_[b];
        return x.count != y.count ? x.count < y.count : x.last < y.last;
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

class random_pool final : public cache_pool {
public:
    random_pool(uint32_t n_slot, uint64_t seed) : n_slot_(n_slot), random_(seed) {}

    bool access(uint32_t slice) override {
        uint8_t & resident = at_slice(resident_, slice);
        if (resident || n_slot_ == 0) {
            return resident;
        }
        resident = 1;
        if (slots_.size() < n_slot_) {
            slots_.push_back(slice);
        } else {
            uint32_t & victim = slots_[random_.below(n_slot_)];
            resident_[victim] = 0;
            victim            = slice;
        }
        return false;
    }

private:
    uint32_t              n_slot_;
    random_stream         random_;
    std::vector<uint32_t> slots_;
    std::vector<uint8_t>  resident_;
};

class fixed_pool final : public cache_pool {
public:
    fixed_pool(uint32_t n_slot, const std::vector<uint64_t> & count) : held_(count.size()) {
        std::vector<uint32_t> order(count.size());
        std::iota(order.begin(), order.end(), 0u);
        std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return count[a] > count[b]; });
        for (size_t i = 0; i < std::min<size_t>(n_slot, order.size()); ++i) {
            held_[order[i]] = true;
        }
    }
    bool access(uint32_t slice) override { return held_[slice]; }

private:
    std::vector<bool> held_;
};

}  // namespace

const char * to_string(cache_policy p) {
    switch (p) {
        case cache_policy::lru: return "LRU";
        case cache_policy::lfu: return "LFU";
        case cache_policy::fixed: return "static";
        case cache_policy::random: return "random";
        default: return "Belady";
    }
}

std::unique_ptr<cache_pool> make_lru(uint32_t n_slot) {
    return std::make_unique<lru_pool>(n_slot);
}
std::unique_ptr<cache_pool> make_lfu(uint32_t n_slot) {
    return std::make_unique<lfu_pool>(n_slot);
}
std::unique_ptr<cache_pool> make_random(uint32_t n_slot, uint64_t seed) {
    return std::make_unique<random_pool>(n_slot, seed);
}
std::unique_ptr<cache_pool> make_fixed(uint32_t n_slot, const std::vector<uint64_t> & count) {
    return std::make_unique<fixed_pool>(n_slot, count);
}

std::vector<uint8_t> simulate_optimum(const std::vector<uint32_t> & accesses, uint32_t n_slice, uint32_t n_slot) {
    const auto            never = static_cast<uint32_t>(accesses.size());
    std::vector<uint32_t> next(accesses.size()), upcoming(n_slice, never);
    for (size_t i = accesses.size(); i-- > 0;) {
        next[i]               = upcoming[accesses[i]];
        upcoming[accesses[i]] = static_cast<uint32_t>(i);
    }
    std::vector<uint8_t>                    hits(accesses.size());
    std::set<std::pair<uint32_t, uint32_t>> resident;  // next use, slice
    for (uint32_t i = 0; i < accesses.size(); ++i) {
        const auto it = resident.find({i, accesses[i]});  // a resident's next use is now
        hits[i]       = it != resident.end();
        if (hits[i]) {
            resident.erase(it);
        }
        if (next[i] == never || n_slot == 0) {
            continue;  // will not be needed again
        }
        if (resident.size() == n_slot) {
            const auto last = std::prev(resident.end());
            if (last->first < next[i]) {
                continue;  // all residents are needed sooner
            }
            resident.erase(last);
        }
        resident.insert({next[i], accesses[i]});
    }
    return hits;
}

}  // namespace moescope::analysis
