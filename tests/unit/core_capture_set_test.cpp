#include "core/column_set.hpp"

#include <string>

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace moescope {
namespace {

std::string refusal(const std::string & list) {
    try {
        parse_column_set(list);
    } catch (const usage_error & e) {
        return e.what();
    }
    return {};
}

TEST(parse_column_set, always_holds_ids_and_weights) {
    const column_set set = parse_column_set("norms");
    EXPECT_EQ(set, (column::ids | column::weights) | column::norms);
}

TEST(parse_column_set, reads_every_item_by_the_name_it_prints) {
    for (uint32_t bit = 1; bit <= static_cast<uint32_t>(column::access); bit <<= 1) {
        const column_set  one  = column_set::from_bits(bit);
        const std::string name = to_string(one);
        ASSERT_FALSE(name.empty());
        EXPECT_EQ(name.find(','), std::string::npos) << name;
        EXPECT_EQ(parse_column_set(name), one | column::ids | column::weights) << name;
    }
}

TEST(parse_column_set, all_is_every_item) {
    EXPECT_EQ(parse_column_set("all"), column_set::all());
    EXPECT_EQ(parse_column_set(to_string(column_set::all())), column_set::all());
    EXPECT_TRUE(column_set::all().has(column::access));
}

TEST(parse_column_set, order_and_repetition_do_not_matter) {
    EXPECT_EQ(parse_column_set("gate-input,ids,logits"), parse_column_set("logits,gate-input,logits"));
}

TEST(parse_column_set, refuses_unknown_and_empty_items_by_name) {
    EXPECT_NE(refusal("ids,wieghts").find("'wieghts'"), std::string::npos);
    EXPECT_NE(refusal("ids,wieghts").find(to_string(column_set::all())), std::string::npos);
    EXPECT_NE(refusal("ids,").find("''"), std::string::npos);
    EXPECT_NE(refusal("").find("''"), std::string::npos);
    EXPECT_NE(refusal("ids, weights").find("' weights'"), std::string::npos);
    EXPECT_NE(refusal("IDS").find("'IDS'"), std::string::npos);
}

TEST(column_set, without_takes_away_one_item_only) {
    const column_set set = parse_column_set("norms").without(column::norms);
    EXPECT_FALSE(set.has(column::norms));
    EXPECT_EQ(to_string(set), "ids,weights");
}

}  // namespace
}  // namespace moescope
