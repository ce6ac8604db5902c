// The evaluation that `report` shows, as a stranger may have written it.

#include "report/damage.hpp"

#include <string>

#include <gtest/gtest.h>

#include "core/error.hpp"
#include "support/trace_kit.hpp"

namespace moescope::report {
namespace {

TEST(damage, refuses_what_is_nested_without_end) {
    const test::scratch_folder folder{test::scratch_folder::in_memory};
    const std::string path = folder / "deep.json", deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
    for (const std::string & text :
         {R"({"kind":)" + deep + "}", R"({"kind":"evaluate","version":1,"plans":[)" + deep + "]}"}) {
        test::spill(path, text);
        EXPECT_THROW(read_damage(path), error);
    }
}

}  // namespace
}  // namespace moescope::report
