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

// An expert with these numbers; all is well with 1 and 1.
std::string evaluation_of(const std::string & layer, const std::string & expert) {
    return R"({"kind":"evaluate","version":1,"model":"m","corpus":"c","samples":1,"tokens":8,"n_expert":4,"experts":[{"layer":)" +
           layer + R"(,"expert":)" + expert +
           R"(,"kl":0.5,"kl_low":0.25,"kl_high":1,"delta_nll":0.1,"same_top":0.75,"displaced":null}]})";
}

TEST(damage, takes_no_number_for_an_expert_that_none_can_have) {
    const test::scratch_folder folder{test::scratch_folder::in_memory};
    const std::string          path = folder / "e.json";
    test::spill(path, evaluation_of("1", "1"));
    EXPECT_EQ(read_damage(path).n_expert, 4u);
    for (const char * number : {"1.5", "1.4e10", "4294967297", "18446744073709551615", "-1e300", "true", "\"1\""}) {
        test::spill(path, evaluation_of("1", number));
        EXPECT_THROW(read_damage(path), error) << number;
        test::spill(path, evaluation_of(number, "1"));
        EXPECT_THROW(read_damage(path), error) << number;
    }
}

}  // namespace
}  // namespace moescope::report
