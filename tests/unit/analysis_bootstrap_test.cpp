// Intervals by bootstrap: exact where nothing varies, and right about as often as they say.

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "analysis/tools/bootstrap.hpp"
#include "core/random_stream.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;

TEST(bootstrap, of_equal_units_is_the_ratio_itself) {
    const std::vector<double> part(20, 3), whole(20, 4);
    const interval            i = bootstrap_ratio(part, whole);
    EXPECT_EQ(i.low, 0.75);
    EXPECT_EQ(i.high, 0.75);
}

TEST(bootstrap, needs_two_units) {
    EXPECT_TRUE(std::isnan(bootstrap_ratio({1}, {2}).low));
    EXPECT_TRUE(std::isnan(bootstrap_ratio({}, {}).low));
    EXPECT_TRUE(std::isnan(bootstrap_lead({{1}, {2}}, {2}, 0)[1].low));
    EXPECT_TRUE(std::isnan(bootstrap_ratio({0, 0}, {0, 0}).low));  // no whole to be a part of
}

TEST(bootstrap, of_many_units_is_that_of_their_neighbours_together) {
    // 8192 units of which two neighbours always add up to the same: drawn together nothing varies.
    std::vector<double> part, whole(8192, 1);
    for (int i = 0; i < 8192; ++i) {
        part.push_back(i % 2);
    }
    const interval i = bootstrap_ratio(part, whole);
    EXPECT_EQ(i.low, 0.5);
    EXPECT_EQ(i.high, 0.5);
}

TEST(bootstrap_lead, of_constant_differences_is_exact) {
    // Whatever is drawn, the first lies 1/8 above the second; the third goes its own way.
    std::vector<double> a, b, c, whole;
    random_stream       random(4);
    for (int i = 0; i < 30; ++i) {
        const double x = 1 + random.below(5);
        a.push_back(x);
        b.push_back(x - 1);
        c.push_back(random.below(3));
        whole.push_back(8);
    }
    const std::vector<interval> lead = bootstrap_lead({a, b, c}, whole, 0);
    EXPECT_NEAR(lead[1].low, 0.125, 1e-9);
    EXPECT_NEAR(lead[1].high, 0.125, 1e-9);
    EXPECT_GT(lead[2].high - lead[2].low, 0.01);
    EXPECT_TRUE(std::isnan(lead[0].low));
}

struct draws_of_policies {
    std::vector<std::vector<double>> parts;
    std::vector<double>              whole;
    size_t                           best = 0;
};

// n units of `count` policies: a share of the unit that all have in common, and noise of each; the first has `gain` more.
draws_of_policies draw(random_stream & random, size_t count, int n, double gain) {
    draws_of_policies d;
    d.parts.resize(count);
    std::vector<double> sum(count);
    for (int u = 0; u < n; ++u) {
        const double common = random.normal();
        d.whole.push_back(10);
        for (size_t p = 0; p < count; ++p) {
            d.parts[p].push_back(5 + common + random.normal() + (p == 0 ? gain : 0));
            sum[p] += d.parts[p].back();
        }
    }
    d.best = static_cast<size_t>(std::max_element(sum.begin(), sum.end()) - sum.begin());
    return d;
}

// Two policies that are the same in truth are the hard case: whichever leads by chance must not be called surely better
// in more than 5 % of the trials.
TEST(bootstrap_lead, of_equal_policies_is_seldom_sure) {
    random_stream random(8);
    constexpr int trials = 300;
    int           sure   = 0;
    for (int t = 0; t < trials; ++t) {
        const draws_of_policies d = draw(random, 2, 25, 0);
        sure += bootstrap_lead(d.parts, d.whole, d.best)[1 - d.best].low > 0;
    }
    // 15 are expected at 5 %; the bootstrap of 25 units is a little narrow. Without the correction for choosing the leader
    // on the same data (one-sided 5 %) it would be 30.
    EXPECT_LT(sure, 27);
}

TEST(bootstrap_lead, finds_the_better_policy_and_is_wider_than_a_pair_alone) {
    random_stream           random(2);
    const draws_of_policies d    = draw(random, 4, 60, 1.5);
    const auto              lead = bootstrap_lead(d.parts, d.whole, d.best);
    EXPECT_EQ(d.best, 0u);
    for (size_t p = 1; p < 4; ++p) {
        EXPECT_GT(lead[p].low, 0);
        std::vector<double> gain;
        for (size_t u = 0; u < d.whole.size(); ++u) {
            gain.push_back(d.parts[0][u] - d.parts[p][u]);
        }
        const interval alone = bootstrap_ratio(gain, d.whole);
        EXPECT_LT(lead[p].low, alone.low);
        EXPECT_GT(lead[p].high, alone.high);
        EXPECT_NEAR((lead[p].low + lead[p].high) / 2, (alone.low + alone.high) / 2, 0.02);
    }
}

}  // namespace
