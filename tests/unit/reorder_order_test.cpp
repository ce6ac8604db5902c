// The order of experts: neighbours that are used together, hot ones first, nobody where it must not be; and what is read then.

#include <algorithm>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "analysis/coactivation.hpp"
#include "core/random_stream.hpp"
#include "reorder/expert_order.hpp"
#include "support/routing_builder.hpp"

namespace {

using namespace moescope;
using moescope::test::block_of;
using moescope::test::routing_builder;

// Pairs of rows that are drawn from groups of experts: a row takes k of one group's.
analysis::pair_counts grouped_pairs(uint32_t n_expert, uint32_t k, const std::vector<std::vector<uint32_t>> & groups,
                                    const std::vector<uint32_t> & rows_of_group) {
    routing_builder t({block_of(0, n_expert, k)});
    random_stream   random(4);
    int32_t         pos = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
        for (uint32_t r = 0; r < rows_of_group[g]; ++r) {
            std::vector<uint32_t> ids = groups[g];
            for (size_t i = ids.size(); i-- > 1;) {
                std::swap(ids[i], ids[random.below(uint32_t(i + 1))]);
            }
            ids.resize(k);
            t.token(0, pos++, {{ids}});
        }
    }
    analysis::pairs_within pairs;
    t.feed(pairs);
    return pairs.result().at(0);
}

std::set<int32_t> members(const std::vector<int32_t> & order, size_t from, size_t n) {
    return {order.begin() + long(from), order.begin() + long(from + n)};
}

TEST(ExpertOrder, GroupsLieTogetherTheHotOnesFirst) {
    const std::vector<std::vector<uint32_t>> groups = {{0, 5, 9, 14}, {1, 3, 8, 15}, {2, 6, 10, 12}, {4, 7, 11, 13}};
    const auto                               pairs  = grouped_pairs(16, 2, groups, {100, 400, 200, 300});
    const auto order = reorder::order_by_coactivation(pairs, std::vector<uint32_t>(16, 0));
    EXPECT_EQ(members(order, 0, 4), (std::set<int32_t>{1, 3, 8, 15}));
    EXPECT_EQ(members(order, 4, 4), (std::set<int32_t>{4, 7, 11, 13}));
    EXPECT_EQ(members(order, 8, 4), (std::set<int32_t>{2, 6, 10, 12}));
    EXPECT_EQ(members(order, 12, 4), (std::set<int32_t>{0, 5, 9, 14}));
}

// The sum of bonds between neighbours of any order of few experts, by trying them all.
TEST(ExpertOrder, IsNearTheBestOfAllOrders) {
    random_stream random(11);
    for (int round = 0; round < 20; ++round) {
        routing_builder t({block_of(0, 8, 3)});
        for (int32_t pos = 0; pos < 60; ++pos) {
            std::set<uint32_t> ids;
            while (ids.size() < 3) {
                ids.insert(std::min(random.below(8), random.below(8)));
            }
            t.token(0, pos, {{std::vector<uint32_t>(ids.begin(), ids.end())}});
        }
        analysis::pairs_within counted;
        t.feed(counted);
        const auto pairs = counted.result().at(0);
        const auto bonds = [&](const std::vector<int32_t> & order) {
            uint64_t sum = 0;
            for (size_t i = 1; i < order.size(); ++i) {
                sum += pairs.n_both(uint32_t(order[i - 1]), uint32_t(order[i]));
            }
            return sum;
        };
        std::vector<int32_t> any(8);
        std::iota(any.begin(), any.end(), 0);
        uint64_t best = 0, as_is = bonds(any);
        do {
            best = std::max(best, bonds(any));
        } while (std::next_permutation(any.begin(), any.end()));
        const uint64_t found = bonds(reorder::order_by_coactivation(pairs, std::vector<uint32_t>(8, 0)));
        EXPECT_GE(found, as_is);
        EXPECT_GE(double(found), 0.85 * double(best)) << "pieces are cut and laid by heat: some bonds are given up";
    }
}

TEST(ExpertOrder, ExpertsStayAmongThePlacesOfTheirGroup) {
    gguf::moe_shape shape;
    shape.n_expert        = 16;
    shape.n_expert_groups = 4;
    const auto cells      = reorder::interchangeable_places(shape);
    EXPECT_EQ(cells, (std::vector<uint32_t>{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3}));
    const auto order = reorder::order_by_coactivation(
        grouped_pairs(16, 2, {{0, 5, 9, 14}, {1, 3, 8, 15}, {2, 6, 10, 12}, {4, 7, 11, 13}}, {9, 9, 9, 9}), cells);
    for (size_t place = 0; place < 16; ++place) {
        EXPECT_EQ(order[place] / 4, int32_t(place) / 4);
    }
}

// llama.cpp weighs the adjugate expert of chunk c by the probability of expert number c: those numbers must not move.
TEST(ExpertOrder, ChunksKeepTheirExpertsAndTheNumbersThatWeighThem) {
    gguf::moe_shape shape;
    shape.n_expert          = 12;
    shape.experts_per_chunk = 3;
    const auto cells        = reorder::interchangeable_places(shape);
    for (uint32_t e = 0; e < 4; ++e) {
        EXPECT_EQ(std::count(cells.begin(), cells.end(), cells[e]), 1) << e;
    }
    EXPECT_EQ(cells[4], cells[5]);  // of chunk 1, whose expert 3 is fixed
    EXPECT_NE(cells[5], cells[6]);
    EXPECT_EQ(cells[6], cells[8]);
}

}  // namespace
