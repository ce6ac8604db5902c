#include "analysis/cache_policy.hpp"

#include <algorithm>
#include <numeric>

namespace moescope::analysis {

namespace {

class lru_pool final : public cache_pool {
public:
    explicit lru_pool(uint32_t n_slot) : n_slot_(n_slot) {}

    bool access(uint32_t slice) override {
        const auto it = where_.find(slice);
        if (it != where_.end()) {
            order_.splice(order_.begin(), order_, it->second);
            return true;
        }
        if (n_slot_ == 0) {
            return false;
        }
        if (where_.size() == n_slot_) {
            where_.erase(order_.back());
            order_.pop_back();
        }
        order_.push_front(slice);
        where_[slice] = order_.begin();
        return false;
    }

private:
    uint32_t                                                     n_slot_;
    std::list<uint32_t>                                          order_;   // most recently used first
    std::unordered_map<uint32_t, std::list<uint32_t>::iterator> where_;
};

class lfu_pool final : public cache_pool {
public:
    explicit lfu_pool(uint32_t n_slot) : n_slot_(n_slot) {}

    bool access(uint32_t slice) override {
        use &      u   = uses_[slice];
        const bool hit = u.resident;
        if (hit) {
            residents_.erase({u.count, u.last, slice});
        } else if (n_slot_ == 0) {
            return false;
        } else if (residents_.size() == n_slot_) {
            uses_[std::get<2>(*residents_.begin())].resident = false;
            residents_.erase(residents_.begin());
        }
        u.count += 1;
        u.last     = ++clock_;
        u.resident = true;
        residents_.insert({u.count, u.last, slice});
        return hit;
    }

private:
    struct use {
        uint64_t count = 0, last = 0;
        bool     resident = false;
    };
    uint32_t                                            n_slot_;
    uint64_t                                            clock_ = 0;
    std::unordered_map<uint32_t, use>                   uses_;
    std::set<std::tuple<uint64_t, uint64_t, uint32_t>>  residents_;   // count, last use, slice
};

class random_pool final : public cache_pool {
public:
    random_pool(uint32_t n_slot, uint64_t seed) : n_slot_(n_slot), random_(seed) {}

    bool access(uint32_t slice) override {
        if (where_.count(slice) != 0) {
            return true;
        }
        if (n_slot_ == 0) {
            return false;
        }
        if (slots_.size() < n_slot_) {
            slots_.push_back(slice);
        } else {
            uint32_t & victim = slots_[random_.below(n_slot_)];
            where_.erase(victim);
            victim = slice;
        }
        where_.insert(slice);
        return false;
    }

private:
    uint32_t              n_slot_;
    random_stream         random_;
    std::vector<uint32_t> slots_;
    std::set<uint32_t>    where_;
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
        next[i]                = upcoming[accesses[i]];
        upcoming[accesses[i]] = static_cast<uint32_t>(i);
    }
    std::vector<uint8_t>                     hits(accesses.size());
    std::set<std::pair<uint32_t, uint32_t>> resident;   // next use, slice
    for (uint32_t i = 0; i < accesses.size(); ++i) {
        const auto it = resident.find({i, accesses[i]});   // a resident's next use is now
        hits[i]       = it != resident.end();
        if (hits[i]) {
            resident.erase(it);
        }
        if (next[i] == never || n_slot == 0) {
            continue;   // will not be needed again
        }
        if (resident.size() == n_slot) {
            const auto last = std::prev(resident.end());
            if (last->first < next[i]) {
                continue;   // all residents are needed sooner
            }
            resident.erase(last);
        }
        resident.insert({next[i], accesses[i]});
    }
    return hits;
}

}  // namespace moescope::analysis
