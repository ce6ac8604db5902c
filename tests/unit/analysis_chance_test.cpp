// What `stats` calls chance, against rows that really are random.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "analysis/summary.hpp"
#include "analysis/tools/distance.hpp"
#include "analysis/tools/running_stats.hpp"
#include "support/routing_builder.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;
using moescope::test::block_of;
using moescope::test::routing_builder;

std::vector<uint32_t> random_row(std::mt19937 & random, uint32_t n_expert, uint32_t k) {
    std::vector<uint32_t> ids(n_expert);
    std::iota(ids.begin(), ids.end(), 0u);
    std::shuffle(ids.begin(), ids.end(), random);
    ids.resize(k);
    return ids;
}

TEST(chance, of_the_cache_is_what_random_rows_show) {
    struct shape {
        uint32_t n_expert, k;
        int32_t  n;
    };
    for (const auto & [n_expert, k, n] :
         {shape{8, 3, 4000}, shape{6, 2, 4000}, shape{32, 4, 1000}, shape{16, 1, 4000}, shape{8, 8, 50}}) {
        std::mt19937    random(7);
        routing_builder t({block_of(0, n_expert, k)});
        for (int32_t i = 0; i < n; ++i) {
            t.token(0, i, {{random_row(random, n_expert, k)}});
        }
        summary s;
        t.feed(s);
        EXPECT_NEAR(s.result().lru_hits_chance, s.result().lru_hits, 0.03) << n_expert << " experts, top-" << k;
    }
}

TEST(chance, of_the_cache_knows_what_is_selected_twice_in_no_row) {
    routing_builder t({block_of(0, 4, 4)});  // every row reads all four, in order: a cache of one never hits
    for (int32_t i = 0; i < 20; ++i) {
        t.token(0, i, {{{0, 1, 2, 3}}});
    }
    summary s;
    t.feed(s);
    EXPECT_EQ(s.result().lru_hits_chance, 0);
}

TEST(chance, of_a_distance_stays_within_its_scale) {
    EXPECT_EQ(jensen_shannon_by_chance({1, 0}, {0, 1}, 1), 1);        // two selections of two experts part in any deal
    EXPECT_EQ(jensen_shannon_by_chance({3, 0, 0}, {5, 0, 0}, 1), 0);  // one expert
    EXPECT_EQ(jensen_shannon_by_chance({2, 2}, {1, 1}, 2), 0);        // all experts in every row
    EXPECT_TRUE(std::isnan(jensen_shannon_by_chance({0, 0}, {1, 1}, 1)));
    EXPECT_LE(jensen_shannon_by_chance({1, 1, 1, 1, 0, 0, 0, 0}, {0, 0, 0, 0, 1, 1, 1, 1}, 4), 1);
}

// A router that prefers some experts by far, 4 rows of one phase and many of the other: dealt out anew, whole rows.
TEST(chance, of_a_distance_is_that_of_rows_dealt_anew) {
    for (const auto & [n_a, n_b] : {std::pair(4, 60), std::pair(30, 30), std::pair(900, 1100)}) {
        std::mt19937                       random(3);
        std::vector<std::vector<uint32_t>> rows;
        for (int i = 0; i < n_a + n_b; ++i) {
            std::vector<uint32_t> row = random_row(random, i % 3 ? 6 : 16, 2);
            rows.push_back(row);
        }
        const auto count = [&](size_t from, size_t to) {
            std::vector<uint64_t> c(16);
            for (size_t i = from; i < to; ++i) {
                for (const uint32_t id : rows[i]) {
                    c[id] += 1;
                }
            }
            return c;
        };
        running_stats dealt, chance;
        for (int round = 0; round < 40; ++round) {
            std::shuffle(rows.begin(), rows.end(), random);
            const auto a = count(0, static_cast<size_t>(n_a)), b = count(static_cast<size_t>(n_a), rows.size());
            dealt.add(jensen_shannon(a, b));
            chance.add(jensen_shannon_by_chance(a, b, 2));
        }
        EXPECT_NEAR(chance.mean() / dealt.mean(), 1, 0.08) << n_a << " and " << n_b << " rows";
    }
}

// The last layer often computes fewer rows than the others: pairs of neighbours count alike wherever they are.
TEST(chance, overlaps_are_means_over_pairs) {
    routing_builder t({block_of(0, 8, 1), block_of(1, 8, 1)});
    for (int32_t i = 0; i < 9; ++i) {
        t.token(0, i, {{{0}}, i < 7 ? moescope::test::row{} : moescope::test::row{{static_cast<uint32_t>(i - 7)}}});
    }
    summary s;
    t.feed(s);
    EXPECT_NEAR(s.result().overlap_next, 8.0 / 9, 1e-12);  // 8 pairs that agree, 1 that does not
}

}  // namespace
