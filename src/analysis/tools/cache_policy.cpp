#include "analysis/tools/cache_policy.hpp"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "analysis/tools/heap_pool.hpp"

namespace moescope::analysis {

namespace {

constexpr uint32_t none = no_slice;

class lru_pool final : public cache_pool {
public:
    explicit lru_pool(uint32_t n_slot) : n_slot_(n_slot) {}

    bool access(uint32_t slice) override {
        if (n_slot_ == 0) {
            return false;
        }
        const bool hit = at_slice(links_, slice).resident;
        evicted_       = !hit && n_ == n_slot_ ? oldest_ : none;
        if (hit) {
            take_out(slice);
        } else if (evicted_ != none) {
            take_out(evicted_);
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

class lfu_pool final : public heap_pool {
public:
    using heap_pool::heap_pool;

private:
    double worth(uint32_t slice) override { return at_slice(count_, slice) += 1; }

    std::vector<double> count_;
};

class random_pool final : public cache_pool {
public:
    random_pool(uint32_t n_slot, uint64_t seed) : n_slot_(n_slot), random_(seed) {}

    bool access(uint32_t slice) override {
        uint8_t & resident = at_slice(resident_, slice);
        evicted_           = none;
        if (resident || n_slot_ == 0) {
            return resident;
        }
        resident = 1;
        if (slots_.size() < n_slot_) {
            slots_.push_back(slice);
        } else {
            uint32_t & place    = slots_[random_.below(n_slot_)];
            evicted_            = place;
            resident_[evicted_] = 0;
            place               = slice;
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
        case cache_policy::lfru: return "LFRU";
        case cache_policy::decay: return "decay";
        case cache_policy::least_stale: return "least-stale";
        case cache_policy::fixed: return "static";
        case cache_policy::random: return "random";
        default: return "Belady";
    }
}

const char * source_of(cache_policy p) {
    switch (p) {
        case cache_policy::lru: return "Mattson et al. 1970; MoE offloading: arXiv:2312.17238";
        case cache_policy::lfu: return "Mattson et al. 1970";
        case cache_policy::lfru: return "expert caches: ggml-org/llama.cpp#21609, vllm-project/vllm#37190";
        case cache_policy::decay: return "LRFU: Lee et al. 2001, IEEE Trans. Computers 50(12)";
        case cache_policy::least_stale: return "SpecMD: arXiv:2602.03921";
        case cache_policy::fixed: return "hot lists: antirez/ds4#390, FlashML-org/FreeToken#174";
        case cache_policy::random: return "chance";
        default: return "Belady 1966, IBM Systems Journal 5(2)";
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
