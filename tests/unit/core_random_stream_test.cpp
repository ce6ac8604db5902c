#include "core/random_stream.hpp"

#include <gtest/gtest.h>

namespace moescope {
namespace {

// The first outputs of SplitMix64 as its authors' reference code gives them (prng.di.unimi.it/splitmix64.c).
TEST(random_stream, is_splitmix64) {
    random_stream from_0(0);
    EXPECT_EQ(from_0.next(), 0xe220a8397b1dcdafu);
    EXPECT_EQ(from_0.next(), 0x6e789e6aa1b965f4u);
    EXPECT_EQ(from_0.next(), 0x06c45d188009454fu);
    random_stream from_seed(1234567);
    EXPECT_EQ(from_seed.next(), 6457827717110365317u);
    EXPECT_EQ(from_seed.next(), 3203168211198807973u);
}

TEST(random_stream, draws_within_bounds) {
    random_stream random(7);
    for (int i = 0; i < 10000; ++i) {
        const double u = random.uniform();
        ASSERT_GE(u, 0);
        ASSERT_LT(u, 1);
        ASSERT_LT(random.below(3), 3u);
    }
}

}  // namespace
}  // namespace moescope
