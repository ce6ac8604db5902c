#include "core/error.hpp"

#include <gtest/gtest.h>

namespace moescope {
namespace {

TEST(error_line, is_the_bare_clause_when_nothing_else_is_known) {
    EXPECT_STREQ(error("the file is empty").what(), "the file is empty");
}

TEST(error_line, names_file_then_clause_then_offset_then_advice) {
    const error e = error("the file ends inside a chunk").in("a.moetrace", 4096).fix("run moescope check");
    EXPECT_STREQ(e.what(), "a.moetrace: the file ends inside a chunk (at byte 4096); run moescope check");
    EXPECT_EQ(e.file(), "a.moetrace");
    EXPECT_EQ(e.offset(), 4096);
}

TEST(error_line, does_not_depend_on_the_order_in_which_parts_become_known) {
    const error a = error("what").in("f", 0).fix("advice");
    const error b = error("what").fix("advice").in("f", 0);
    EXPECT_STREQ(a.what(), b.what());
    EXPECT_STREQ(a.what(), "f: what (at byte 0); advice");
}

TEST(error_line, leaves_out_an_unknown_offset) {
    EXPECT_STREQ(error("cannot create").in("out.csv").what(), "out.csv: cannot create");
    EXPECT_EQ(error("cannot create").in("out.csv").offset(), error::no_offset);
}

TEST(error_line, is_what_a_thrown_error_says_through_its_base) {
    try {
        throw error("the disk is full").in("t.moetrace");
    } catch (const std::exception & e) {
        EXPECT_STREQ(e.what(), "t.moetrace: the disk is full");
    }
}

}  // namespace
}  // namespace moescope
