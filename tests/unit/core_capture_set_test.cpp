#include "core/capture_set.hpp"

#include <string>

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace moescope {
namespace {

std::string refusal(const std::string & list) {
    try {
        parse_capture_set(list);
    } catch (const usage_error & e) {
        return e.what();
    }
    return {};
}

TEST(parse_capture_set, always_holds_ids_and_weights) {
    const capture_set set = parse_capture_set("norms");
    EXPECT_EQ(set, (capture::ids | capture::weights) | capture::norms);
}

TEST(parse_capture_set, reads_every_item_by_the_name_it_prints) {
    for (uint32_t bit = 1; bit <= static_cast<uint32_t>(capture::access); bit <<= 1) {
        const capture_set one  = capture_set::from_bits(bit);
        const std::string name = to_string(one);
        ASSERT_FALSE(name.empty());
        EXPECT_EQ(name.find(','), std::string::npos) << name;
        EXPECT_EQ(parse_capture_set(name), one | capture::ids | capture::weights) << name;
    }
}

TEST(parse_capture_set, all_is_every_item) {
    EXPECT_EQ(parse_capture_set("all"), capture_set::all());
    EXPECT_EQ(parse_capture_set(to_string(capture_set::all())), capture_set::all());
    EXPECT_TRUE(capture_set::all().has(capture::access));
}

TEST(parse_capture_set, order_and_repetition_do_not_matter) {
    EXPECT_EQ(parse_capture_set("gate-input,ids,logits"), parse_capture_set("logits,gate-input,logits"));
}

TEST(parse_capture_set, refuses_unknown_and_empty_items_by_name) {
    EXPECT_NE(refusal("ids,wieghts").find("'wieghts'"), std::string::npos);
    EXPECT_NE(refusal("ids,wieghts").find(to_string(capture_set::all())), std::string::npos);
    EXPECT_NE(refusal("ids,").find("''"), std::string::npos);
    EXPECT_NE(refusal("").find("''"), std::string::npos);
    EXPECT_NE(refusal("ids, weights").find("' weights'"), std::string::npos);
    EXPECT_NE(refusal("IDS").find("'IDS'"), std::string::npos);
}

TEST(capture_set, without_takes_away_one_item_only) {
    const capture_set set = parse_capture_set("norms").without(capture::norms);
    EXPECT_FALSE(set.has(capture::norms));
    EXPECT_EQ(to_string(set), "ids,weights");
}

}  // namespace
}  // namespace moescope
