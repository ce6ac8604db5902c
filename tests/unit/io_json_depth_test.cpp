#include "io/json_depth.hpp"

#include <string>

#include <gtest/gtest.h>

namespace moescope::io {
namespace {

TEST(json_depth, counts_levels_outside_of_strings) {
    EXPECT_EQ(json_depth(""), 0u);
    EXPECT_EQ(json_depth("17"), 0u);
    EXPECT_EQ(json_depth("[]"), 1u);
    EXPECT_EQ(json_depth(R"({"a": [1, {"b": []}], "c": [[2]]})"), 4u);
    EXPECT_EQ(json_depth(R"(["[[[", "\"[[", "\\", [1]])"), 2u);
    EXPECT_EQ(json_depth("]]][["), 2u) << "what closes nothing counts for nothing";
    EXPECT_EQ(json_depth(std::string(1'000'000, '[')), 1'000'000u);
}

}  // namespace
}  // namespace moescope::io
