// The eviction policies that count ubatches, against their definitions written out: every score anew, every slot looked at.

#include <algorithm>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "analysis/tools/cache_policy.hpp"
#include "core/random_stream.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;

using passes = std::vector<std::vector<uint32_t>>;  // [ubatch] slices it reads

// Ubatches that each read some slices by rising number; popular ones more often, which are popular drifts.
passes made_passes(uint32_t n_slice, size_t n, uint64_t seed) {
    random_stream random(seed);
    passes        all;
    for (size_t i = 0; i < n; ++i) {
        std::vector<uint32_t> ids;
        for (int j = 0; j < 4; ++j) {
            ids.push_back((std::min(random.below(n_slice), random.below(n_slice)) + uint32_t(i / 200)) % n_slice);
        }
        std::sort(ids.begin(), ids.end());
        ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
        all.push_back(ids);
    }
    return all;
}

struct past {
    std::map<uint32_t, std::vector<size_t>> accesses;  // the ubatches of each slice's accesses
    std::map<uint32_t, size_t>              last;      // running number of the last access
};

// true: x is to go before y, in ubatch `now` while slice `at` comes in.
using goes_first = bool (*)(const past & p, uint32_t x, uint32_t y, size_t now, uint32_t at);

void compare(cache_pool & pool, const passes & all, size_t n_slot, goes_first first) {
    past                  p;
    std::vector<uint32_t> held;
    size_t                clock = 0;
    for (size_t now = 0; now < all.size(); ++now) {
        pool.next_pass();
        for (const uint32_t slice : all[now]) {
            const bool hit  = std::find(held.begin(), held.end(), slice) != held.end();
            uint32_t   gone = no_slice;
            p.accesses[slice].push_back(now);
            p.last[slice] = ++clock;
            if (!hit && held.size() == n_slot) {
                const auto it = std::min_element(held.begin(), held.end(),
                                                 [&](uint32_t x, uint32_t y) { return first(p, x, y, now, slice); });
                gone          = *it;
                held.erase(it);
            }
            if (!hit) {
                held.push_back(slice);
            }
            ASSERT_EQ(pool.access(slice), hit) << "ubatch " << now << " slice " << slice;
            ASSERT_EQ(pool.evicted(), gone) << "ubatch " << now << " slice " << slice;
        }
    }
}

bool by_score(double x, double y, size_t last_x, size_t last_y) {
    return std::abs(x - y) > 1e-9 * std::max(x, y) ? x < y : last_x < last_y;
}

bool lfru_first(const past & p, uint32_t x, uint32_t y, size_t now, uint32_t) {
    const auto score = [&](uint32_t s) {
        const auto & a = p.accesses.at(s);
        return double(a.size()) / double(1 + now - a.back());
    };
    return by_score(score(x), score(y), p.last.at(x), p.last.at(y));
}

bool decay_first(const past & p, uint32_t x, uint32_t y, size_t now, uint32_t) {
    const auto score = [&](uint32_t s) {
        double sum = 0;
        for (const size_t a : p.accesses.at(s)) {
            sum += std::pow(0.95, double(now - a));
        }
        return sum;
    };
    return by_score(score(x), score(y), p.last.at(x), p.last.at(y));
}

constexpr uint32_t n_layer = 5, per_layer = 8;

bool stale_first(const past & p, uint32_t x, uint32_t y, size_t now, uint32_t at) {
    const auto key = [&](uint32_t s) {
        const uint32_t turns_until =
            (s / per_layer + n_layer - at / per_layer + n_layer - 1) % n_layer;  // 0: next layer
        return std::make_tuple(p.accesses.at(s).back() == now, -int(turns_until), p.last.at(s));
    };
    return key(x) < key(y);
}

TEST(AgingPolicies, LfruEvictsTheLeastCountOverAge) {
    for (const uint32_t slots : {1u, 3u, 9u}) {
        compare(*make_lfru(slots), made_passes(24, 1500, slots), slots, lfru_first);
    }
}

TEST(AgingPolicies, DecayEvictsTheLeastDecayedCount) {
    for (const uint32_t slots : {1u, 3u, 9u}) {
        compare(*make_decay(slots), made_passes(24, 1500, slots), slots, decay_first);
    }
}

TEST(AgingPolicies, LeastStaleEvictsTheLayerThatIsFurthestAhead) {
    std::vector<uint32_t> layer_of;
    for (uint32_t s = 0; s < n_layer * per_layer; ++s) {
        layer_of.push_back(s / per_layer);
    }
    for (const uint32_t slots : {1u, 7u, 19u}) {
        compare(*make_least_stale(slots, layer_of), made_passes(n_layer * per_layer, 1500, slots), slots, stale_first);
    }
}

TEST(AgingPolicies, LeastStaleIsLruWithinOneLayer) {
    const auto stale = make_least_stale(6, std::vector<uint32_t>(24, 0)), lru = make_lru(6);
    for (const auto & ids : made_passes(24, 1500, 9)) {
        stale->next_pass();
        lru->next_pass();
        for (const uint32_t id : ids) {
            ASSERT_EQ(stale->access(id), lru->access(id));
            ASSERT_EQ(stale->evicted(), lru->evicted());
        }
    }
}

TEST(AgingPolicies, WithoutSlotsNothingHits) {
    for (const auto & pool : {make_lfru(0), make_decay(0), make_least_stale(0, {0, 0, 0})}) {
        for (const uint32_t a : {1u, 1u, 2u, 1u}) {
            pool->next_pass();
            EXPECT_FALSE(pool->access(a));
            EXPECT_EQ(pool->evicted(), no_slice);
        }
    }
}

TEST(AgingPolicies, EachSaysWhereItIsFrom) {
    for (int p = 0; p <= int(cache_policy::optimum); ++p) {
        EXPECT_STRNE(source_of(cache_policy(p)), "");
        EXPECT_STRNE(to_string(cache_policy(p)), "");
    }
}

}  // namespace
