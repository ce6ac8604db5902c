#include "core/layer_filter.hpp"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace moescope {
namespace {

std::set<int32_t> layers_of(const std::string & list) {
    const layer_filter f(list);
    std::set<int32_t>  in;
    for (int32_t il = 0; il < 40; ++il) {
        if (f.has(il)) {
            in.insert(il);
        }
    }
    return in;
}

std::string refusal(const std::string & list) {
    try {
        const layer_filter f(list);
    } catch (const usage_error & e) {
        return e.what();
    }
    return {};
}

TEST(layer_filter, takes_numbers_and_inclusive_ranges) {
    EXPECT_EQ(layers_of("3"), (std::set<int32_t>{3}));
    EXPECT_EQ(layers_of("20-24"), (std::set<int32_t>{20, 21, 22, 23, 24}));
    EXPECT_EQ(layers_of("0,2,4-5"), (std::set<int32_t>{0, 2, 4, 5}));
    EXPECT_EQ(layers_of("7-7,5-8"), (std::set<int32_t>{5, 6, 7, 8}));
}

TEST(layer_filter, without_a_list_is_every_layer) {
    EXPECT_EQ(layers_of("").size(), 40u);
    EXPECT_TRUE(layer_filter().has(1000));
    EXPECT_TRUE(layer_filter().all());
    EXPECT_TRUE(layer_filter("").all());
    EXPECT_FALSE(layer_filter("0-39").all());
}

TEST(layer_filter, refuses_what_is_no_list_and_quotes_it) {
    for (const std::string list :
         {"x", "-1", "1-", "-", ",", "1,", ",1", "1,,2", "1 2", "0x3", "99999999999", "1-2-3", "+1"}) {
        EXPECT_NE(refusal(list).find("'" + list + "'"), std::string::npos) << list << ": " << refusal(list);
    }
}

TEST(layer_filter, refuses_a_range_that_ends_before_it_begins) {
    EXPECT_NE(refusal("1,5-3").find("'5-3'"), std::string::npos) << refusal("1,5-3");
}

}  // namespace
}  // namespace moescope
