#include "io/path.hpp"

#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "io/magic.hpp"
#include "support/trace_kit.hpp"

namespace moescope::io {
namespace {

TEST(path, falls_into_folder_and_name) {
    for (const std::string folder : {"", "/", "a/", "a/b/", "/a.b/"}) {
        for (const std::string name : {"", "x", "x.json", ".hidden", "a.b.c"}) {
            EXPECT_EQ(folder_of(folder + name), folder) << folder + name;
            EXPECT_EQ(base_name(folder + name), name) << folder + name;
        }
    }
}

TEST(path, suffixes_need_something_before_them) {
    EXPECT_EQ(without_suffix("run.moetrace", ".moetrace"), "run");
    EXPECT_EQ(without_suffix("run.moetrace.gz", ".moetrace"), "run.moetrace.gz");
    EXPECT_EQ(without_suffix(".moetrace", ".moetrace"), ".moetrace");
    EXPECT_EQ(without_suffix("race", ".moetrace"), "race");
}

TEST(path, parts_are_named_before_the_extension) {
    EXPECT_EQ(with_part("a/run.json", "3"), "a/run.3.json");
    EXPECT_EQ(with_part("run", "3"), "run.3");
    EXPECT_EQ(with_part("a.b/run", "3"), "a.b/run.3");
    EXPECT_EQ(with_part("a/.hidden", "3"), "a/.hidden.3");
    EXPECT_EQ(with_part("a/x.y.csv", "12"), "a/x.y.12.csv");
}

TEST(magic, is_looked_for_at_the_beginning) {
    const test::scratch_folder folder(test::scratch_folder::in_memory);
    const std::string          path = folder / "x";
    std::ofstream(path) << "GGUFrest";
    EXPECT_TRUE(begins_with(path, "GGUF"));
    EXPECT_TRUE(begins_with(path, "GGUFrest"));
    EXPECT_FALSE(begins_with(path, "rest"));
    EXPECT_FALSE(begins_with(path, "GGUFrest and more")) << "the file is shorter";
    EXPECT_FALSE(begins_with(folder / "missing", "GGUF"));
    EXPECT_FALSE(begins_with(folder / "", "GGUF")) << "a folder";
}

}  // namespace
}  // namespace moescope::io
