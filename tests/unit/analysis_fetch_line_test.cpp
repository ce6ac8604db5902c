// The line over which experts come: closed forms, and the rules one by one.

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "analysis/tools/fetch_line.hpp"
#include "analysis/tools/interval.hpp"

namespace {

using moescope::analysis::fetch_line;
using fetches = std::vector<fetch_line::fetch>;

// Every layer misses n slices of that time each; who knows them one layer ahead, and who does not.
double stall_of(int layers, uint32_t n, double time, bool oracle, fetch_line & line) {
    double stall = 0;
    for (int turn = 1; turn <= layers; ++turn) {
        fetches missing;
        for (uint32_t i = 0; i < n; ++i) {
            missing.push_back({i, time});
        }
        if (oracle && turn > 1) {
            for (const fetch_line::fetch & f : missing) {
                line.foresee(uint64_t(turn), f);
            }
        }
        stall += line.begin(uint64_t(turn), missing, 1);
    }
    return stall;
}

TEST(FetchLine, WithoutForesightLayersWaitForEverything) {
    fetch_line line;
    EXPECT_DOUBLE_EQ(stall_of(100, 3, 0.25, false, line), 75);
    EXPECT_DOUBLE_EQ(line.on_demand(), 75);
    EXPECT_EQ(line.fetched_ahead(), 0);
}

TEST(FetchLine, AnOracleWaitsForTheFirstLayerAloneWhereTheBandwidthSuffices) {
    for (const double time : {0.05, 0.125, 0.25}) {  // 4 slices take at most as long as a layer
        fetch_line line;
        EXPECT_DOUBLE_EQ(stall_of(1000, 4, time, true, line), 4 * time);
        EXPECT_EQ(line.in_vain(), 0);
        EXPECT_NEAR(line.fetched_ahead(), 999 * 4 * time, 1e-9);
    }
}

TEST(FetchLine, AnOracleWaitsForWhatExceedsALayersTimeWhereItDoesNot) {
    for (const double time : {0.26, 0.5, 1.0, 7.0}) {
        fetch_line line;
        EXPECT_NEAR(stall_of(1000, 4, time, true, line), 4 * time + 999 * (4 * time - 1), 1e-6) << time;
        EXPECT_EQ(line.in_vain(), 0);
    }
}

TEST(FetchLine, WhatIsNeededNowWaitsOnlyForTheTransferUnderWay) {
    fetch_line line;
    line.begin(1, {}, 1);
    for (uint32_t slice = 0; slice < 5; ++slice) {
        line.foresee(2, {slice, 0.4});  // 0 to 0.4, 0.4 to 0.8, 0.8 to 1.2; two that have not begun at 1
    }
    EXPECT_DOUBLE_EQ(line.begin(2, {{9, 0.4}}, 1), 0.6);  // from 1.2 to 1.6
    EXPECT_NEAR(line.fetched_ahead(), 1.2, 1e-12);
    EXPECT_NEAR(line.in_vain(), 1.2, 1e-12);
    EXPECT_NEAR(line.on_demand(), 0.4, 1e-12);
}

TEST(FetchLine, AForeseenSliceOnItsWayIsWaitedForAndNotFetchedAgain) {
    fetch_line line;
    line.begin(1, {}, 1);
    line.foresee(2, {3, 1.5});
    line.foresee(2, {3, 1.5});  // said twice
    EXPECT_DOUBLE_EQ(line.begin(2, {{3, 1.5}}, 1), 0.5);
    EXPECT_EQ(line.on_demand(), 0);
    EXPECT_DOUBLE_EQ(line.fetched_ahead(), 1.5);
}

TEST(FetchLine, WhatIsForeseenTwoLayersAheadHasTheTimeOfTwo) {
    fetch_line line;
    line.begin(1, {}, 1);
    line.foresee(3, {0, 1.75});
    EXPECT_EQ(line.begin(2, {}, 1), 0);
    EXPECT_EQ(line.begin(3, {{0, 1.75}}, 1), 0);
    EXPECT_EQ(line.in_vain(), 0);
}

TEST(FetchLine, ForesightIsFetchedBehindWhatItsOwnLayerWaitsFor) {
    fetch_line line;
    EXPECT_DOUBLE_EQ(line.begin(1, {{7, 2.0}}, 1), 2);  // 0 to 2, then computes until 3
    line.foresee(2, {1, 0.75});                         // said at 0, but the line is free at 2: 2 to 2.75
    line.foresee(2, {2, 0.75});                         // 2.75 to 3.5
    EXPECT_DOUBLE_EQ(line.begin(2, {{1, 0.75}, {2, 0.75}}, 1), 0.5);
}

TEST(LinearRatio, IsTheKnownIntervalOfAMean) {
    // With wholes of 1 it is the mean's: ± 1.96 s / sqrt(n). s² of 1, 2, 3, 4 is 5/3.
    const auto i = moescope::analysis::linear_ratio({1, 2, 3, 4}, {1, 1, 1, 1});
    EXPECT_NEAR(i.low, 2.5 - 1.959963984540054 * std::sqrt(5.0 / 3.0 / 4.0), 1e-12);
    EXPECT_NEAR(i.high, 2.5 + 1.959963984540054 * std::sqrt(5.0 / 3.0 / 4.0), 1e-12);
    EXPECT_TRUE(std::isnan(moescope::analysis::linear_ratio({1}, {2}).low));
}

}  // namespace
