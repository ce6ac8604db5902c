// The policies of cache_policy.hpp that count ubatches.

#include <cmath>

#include "analysis/tools/cache_policy.hpp"
#include "analysis/tools/heap_pool.hpp"

namespace moescope::analysis {

namespace {

class lfru_pool final : public cache_pool {
public:
    explicit lfru_pool(uint32_t n_slot) : n_slot_(n_slot) {}

    void next_pass() override { pass_ += 1; }
    bool access(uint32_t slice) override {
        evicted_ = no_slice;
        if (n_slot_ == 0) {
            return false;
        }
        use &      u   = at_slice(uses_, slice);
        const bool hit = u.resident;
        u.count += 1;
        u.pass = pass_;
        u.last = ++clock_;
        if (!hit && residents_.size() < n_slot_) {
            residents_.push_back(slice);
        } else if (!hit) {
            uint32_t & place         = residents_[worst()];
            evicted_                 = place;
            uses_[evicted_].resident = false;
            place                    = slice;
        }
        uses_[slice].resident = true;
        return hit;
    }

private:
    struct use {
        double   count = 0;
        uint64_t pass = 0, last = 0;  // of the last access
        bool     resident = false;
    };
    double worth(const use & u) const { return u.count / (1 + double(pass_ - u.pass)); }
    size_t worst() const {
        size_t at    = 0;
        double least = worth(uses_[residents_[0]]);
        for (size_t i = 1; i < residents_.size(); ++i) {
            const use &  u = uses_[residents_[i]];
            const double w = worth(u);
            if (w < least || (w == least && u.last < uses_[residents_[at]].last)) {
                at    = i;
                least = w;
            }
        }
        return at;
    }

    uint32_t              n_slot_;
    uint64_t              pass_ = 0, clock_ = 0;
    std::vector<use>      uses_;
    std::vector<uint32_t> residents_;
};

// All sums shrink by the same factor from ubatch to ubatch, so their order does not change until an access: what is
// compared is the logarithm of the sum as it would be at ubatch 0.
class decay_pool final : public heap_pool {
public:
    using heap_pool::heap_pool;

    void next_pass() override { pass_ += 1; }

private:
    struct sum {
        double   value = 0;  // at `pass`
        uint64_t pass  = 0;
    };
    double worth(uint32_t slice) override {
        sum & s = at_slice(sums_, slice);
        s.value = 1 + s.value * std::pow(decay_per_pass, double(pass_ - s.pass));
        s.pass  = pass_;
        return std::log(s.value) - double(pass_) * std::log(decay_per_pass);
    }

    uint64_t         pass_ = 0;
    std::vector<sum> sums_;
};

class least_stale_pool final : public cache_pool {
public:
    least_stale_pool(uint32_t n_slot, std::vector<uint32_t> layer_of)
        : n_slot_(n_slot),
          layer_of_(std::move(layer_of)),
          links_(layer_of_.size()) {
        for (const uint32_t layer : layer_of_) {
            at_slice(layers_, layer);
        }
    }

    void next_pass() override { pass_ += 1; }
    bool access(uint32_t slice) override {
        evicted_ = no_slice;
        if (n_slot_ == 0) {
            return false;
        }
        const bool hit = links_[slice].resident;
        if (!hit && n_ == n_slot_) {
            evicted_ = victim(layer_of_[slice]);
            take_out(evicted_);
        }
        if (hit) {
            take_out(slice);
        }
        put_in_front(slice);
        return hit;
    }

private:
    struct link {  // of its layer's list from the most recently used slice to the oldest
        uint32_t newer = no_slice, older = no_slice;
        uint64_t pass     = 0;  // of the last access
        bool     resident = false;
    };
    struct ends {
        uint32_t newest = no_slice, oldest = no_slice;
    };
    // Backwards from the layer at hand: it has just had its turn, and the one behind it is next.
    uint32_t victim(uint32_t layer) const {
        uint32_t in_use = no_slice;
        for (size_t i = 0; i < layers_.size(); ++i) {
            const uint32_t oldest = layers_[(layer + layers_.size() - i) % layers_.size()].oldest;
            if (oldest != no_slice && links_[oldest].pass < pass_) {
                return oldest;
            }
            in_use = in_use == no_slice ? oldest : in_use;
        }
        return in_use;
    }
    void take_out(uint32_t slice) {
        link & l                                                 = links_[slice];
        ends & e                                                 = layers_[layer_of_[slice]];
        (l.newer == no_slice ? e.newest : links_[l.newer].older) = l.older;
        (l.older == no_slice ? e.oldest : links_[l.older].newer) = l.newer;
        l.resident                                               = false;
        n_ -= 1;
    }
    void put_in_front(uint32_t slice) {
        ends & e                                                   = layers_[layer_of_[slice]];
        links_[slice]                                              = {no_slice, e.newest, pass_, true};
        (e.newest == no_slice ? e.oldest : links_[e.newest].newer) = slice;
        e.newest                                                   = slice;
        n_ += 1;
    }

    uint32_t              n_slot_, n_ = 0;
    uint64_t              pass_ = 0;
    std::vector<uint32_t> layer_of_;
    std::vector<link>     links_;
    std::vector<ends>     layers_;
};

}  // namespace

std::unique_ptr<cache_pool> make_lfru(uint32_t n_slot) {
    return std::make_unique<lfru_pool>(n_slot);
}
std::unique_ptr<cache_pool> make_decay(uint32_t n_slot) {
    return std::make_unique<decay_pool>(n_slot);
}
std::unique_ptr<cache_pool> make_least_stale(uint32_t n_slot, std::vector<uint32_t> layer_of) {
    return std::make_unique<least_stale_pool>(n_slot, std::move(layer_of));
}

}  // namespace moescope::analysis
