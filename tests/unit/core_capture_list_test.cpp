#include "core/capture_list.hpp"

#include <string>

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace moescope {
namespace {

std::string refusal(const std::string & list) {
    try {
        parse_capture_list(list);
    } catch (const usage_error & e) {
        return e.what();
    }
    return {};
}

TEST(capture_list, always_holds_ids_and_weights) {
    EXPECT_EQ(parse_capture_list("norms").columns, (column::ids | column::weights) | column::norms);
    EXPECT_FALSE(parse_capture_list("norms").access);
}

TEST(capture_list, reads_every_column_by_the_name_it_prints) {
    for (uint32_t bit = 1; bit < column_set::all().bits(); bit <<= 1) {
        const column_set  one  = column_set::from_bits(bit);
        const std::string name = to_string(one);
        ASSERT_FALSE(name.empty());
        EXPECT_EQ(name.find(','), std::string::npos) << name;
        EXPECT_EQ(parse_capture_list(name), one | column::ids | column::weights) << name;
    }
}

TEST(capture_list, access_is_asked_for_beside_the_columns) {
    const capture_list list = parse_capture_list("access");
    EXPECT_TRUE(list.access);
    EXPECT_EQ(list.columns, column::ids | column::weights);
    EXPECT_EQ(to_string(list), "ids,weights,access");
    EXPECT_EQ(to_string(capture_list({}, true)), "access");
    EXPECT_EQ(to_string(capture_list()), "");
}

TEST(capture_list, all_is_every_column_and_the_accesses) {
    EXPECT_EQ(parse_capture_list("all"), capture_list::all());
    EXPECT_EQ(parse_capture_list(to_string(capture_list::all())), capture_list::all());
    EXPECT_EQ(to_string(capture_list::all()), to_string(column_set::all()) + ",access");
    EXPECT_TRUE(parse_capture_list("all").access);
}

TEST(capture_list, order_and_repetition_do_not_matter) {
    EXPECT_EQ(parse_capture_list("gate-input,access,logits"), parse_capture_list("logits,gate-input,logits,access"));
    EXPECT_EQ(parse_capture_list("access,all,norms"), capture_list::all());
}

TEST(capture_list, refuses_unknown_and_empty_items_by_name) {
    EXPECT_NE(refusal("ids,wieghts").find("'wieghts'"), std::string::npos);
    EXPECT_NE(refusal("ids,wieghts").find(to_string(capture_list(column_set::known(), true))), std::string::npos);
    EXPECT_NE(refusal("ids,").find("''"), std::string::npos);
    EXPECT_NE(refusal("").find("''"), std::string::npos);
    EXPECT_NE(refusal("ids, weights").find("' weights'"), std::string::npos);
    EXPECT_NE(refusal("IDS").find("'IDS'"), std::string::npos);
}

TEST(column_set, without_takes_away_one_item_only) {
    const column_set set = parse_capture_list("norms").columns.without(column::norms);
    EXPECT_FALSE(set.has(column::norms));
    EXPECT_EQ(to_string(set), "ids,weights");
}

TEST(column_set, each_column_of_floats_has_its_own_index) {
    for (size_t i = 0; i < n_float_columns; ++i) {
        EXPECT_EQ(column_index(float_columns[i]), i);
    }
    EXPECT_EQ(column_index(column::ids), n_float_columns);
}

}  // namespace
}  // namespace moescope
