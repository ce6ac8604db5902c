#include "core/expert_mask.hpp"

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.hpp"

namespace moescope {
namespace {

// Which experts of a layer of 8 are omitted, as a string such as "..x....x"; "" where the layer is not touched.
std::string omitted_of(const expert_mask & mask, int32_t layer) {
    std::string text;
    for (const float b : mask.biases(layer, 8)) {
        text += b == expert_mask::omitted ? 'x' : '.';
    }
    return text;
}

template <class Work>
std::string refusal(Work && work) {
    try {
        work();
    } catch (const usage_error & e) {
        return e.what();
    }
    return {};
}

std::vector<router_shape> six_layers() {
    std::vector<router_shape> routers;
    for (int32_t il = 1; il < 7; ++il) {
        routers.push_back({il, 8, 2});
    }
    return routers;
}

std::string misfit(const std::string & mask, const std::vector<router_shape> & routers = six_layers()) {
    return refusal([&] { parse_expert_mask(mask).check(routers); });
}

TEST(expert_mask, omits_what_is_listed) {
    const expert_mask mask = parse_omit("5:1,3:2-4,*:7");
    EXPECT_EQ(omitted_of(mask, 5), ".x.....x");
    EXPECT_EQ(omitted_of(mask, 3), "..xxx..x");
    EXPECT_EQ(omitted_of(mask, 0), ".......x");
    EXPECT_EQ(omitted_of(parse_omit("2-3:0"), 3), "x.......");
    EXPECT_EQ(omitted_of(parse_omit("2-3:0"), 4), "");
}

TEST(expert_mask, keeps_only_what_is_listed) {
    const expert_mask mask = parse_only("5:0-3,5:6");
    EXPECT_EQ(omitted_of(mask, 5), "....xx.x");
    EXPECT_EQ(omitted_of(mask, 4), "");
    EXPECT_EQ(omitted_of(parse_only("*:0-6"), 4), ".......x");
    EXPECT_EQ(omitted_of(parse_only("*:0-3,5:6"), 5), "....xx.x");
}

TEST(expert_mask, adds_biases_up_but_omitted_stays_omitted) {
    const expert_mask  mask = parse_router_bias("1:0=-2,1:0-1=0.5,*:2=1e3,1:3=-inf,1:3=7");
    std::vector<float> want = {-1.5F, 0.5F, 1000, expert_mask::omitted, 0, 0, 0, 0};
    EXPECT_EQ(mask.biases(1, 8), want);
    want = {0, 0, 1000, 0, 0, 0, 0, 0};
    EXPECT_EQ(mask.biases(0, 8), want);
}

TEST(expert_mask, joins_the_rules_of_two) {
    expert_mask mask = parse_omit("1:0");
    mask |= parse_only("1:0-3");
    mask |= parse_router_bias("1:1=-2");
    EXPECT_EQ(omitted_of(mask, 1), "x...xxxx");
    EXPECT_EQ(mask.biases(1, 8)[1], -2.0F);
    mask |= parse_only("1:7");
    EXPECT_EQ(omitted_of(mask, 1), "x...xxx.");
    mask |= mask;
    EXPECT_EQ(mask.biases(1, 8)[1], -4.0F);
}

TEST(expert_mask, without_rules_touches_nothing) {
    EXPECT_TRUE(expert_mask().empty());
    EXPECT_TRUE(parse_expert_mask("").empty());
    EXPECT_EQ(expert_mask().biases(0, 8), std::vector<float>());
    expert_mask().check({});
}

TEST(expert_mask, comes_back_from_its_text) {
    for (const char * text : {"omit 5:1", "only 4:0-7", "bias 5:15=-2",
                              "omit *:0-1,3:5; only 2:1,2:4; bias *:0=0.5,1:1-2=-3", "bias 0:0=0.1,0:0=0.1"}) {
        EXPECT_EQ(parse_expert_mask(text).to_text(), text);
    }
    EXPECT_EQ(parse_expert_mask("bias 1:2=-inf;omit 1:3,1:1").to_text(), "omit 1:1-3");
    EXPECT_EQ(parse_expert_mask("omit 3:1-4,3:2,3:5").to_text(), "omit 3:1-5");
    EXPECT_EQ(parse_expert_mask("bias 0:0=0.1").biases(0, 1)[0], 0.1F);
    EXPECT_EQ(parse_expert_mask(parse_router_bias("0:0=0.3333333").to_text()).biases(0, 1)[0], 0.3333333F);
    EXPECT_EQ(parse_omit("1:1,1:2"), parse_omit("1:1-2"));
    EXPECT_NE(parse_omit("1:1"), parse_omit("1:2"));
    EXPECT_NE(parse_router_bias("0:0=1,0:0=1"), parse_router_bias("0:0=1"));  // 2 and 1
}

TEST(expert_mask, refuses_what_is_no_list_and_quotes_it) {
    for (const std::string item : {"5", "5:", ":5", "5:x", "x:5", "5:5-3", "5:-1", "-1:5", "5:65536", "1024:0", "5:1:2",
                                   "5 :1", "3-1:0", "*", "**:1", "5:+1", ""}) {
        EXPECT_NE(refusal([&] { parse_omit("0:0," + item); }).find("'" + item + "'"), std::string::npos) << item;
        EXPECT_NE(refusal([&] { parse_only(item); }).find("--only takes"), std::string::npos) << item;
    }
    for (const std::string item :
         {"5:1", "5:1=", "5:1=x", "5:1=inf", "5:1=nan", "5:1=1e7", "5:1=-1e7", "5:1=1e99", "5=1", "5:1=1 "}) {
        EXPECT_NE(refusal([&] { parse_router_bias(item); }).find("'" + item + "'"), std::string::npos) << item;
    }
    for (const std::string text : {"x", "omit", "omit ", "omit 1:1;", "leave 1:1", ";omit 1:1", "5:1"}) {
        EXPECT_NE(refusal([&] { parse_expert_mask(text); }), "") << text;
    }
    EXPECT_NE(refusal([] { expert_mask().add(0, 0, 0, NAN); }), "");
    EXPECT_NE(refusal([] { expert_mask().add(-2, 0, 0, 1); }), "");
}

TEST(expert_mask, fits_or_names_what_does_not) {
    EXPECT_EQ(misfit("omit 1:0-5"), "");
    EXPECT_EQ(misfit("omit *:7; bias 6:0=-5"), "");
    EXPECT_EQ(misfit("omit 1:8"), "layer 1 has no expert 8; its experts are 0 to 7");
    EXPECT_EQ(misfit("only 1:6-8"), "layer 1 has no expert 8; its experts are 0 to 7");
    EXPECT_EQ(misfit("omit *:8"), "layer 1 has no expert 8; its experts are 0 to 7");
    EXPECT_EQ(misfit("bias 0:1=1"), "layer 0 has no experts; there are some in layers 1-6");
    EXPECT_EQ(misfit("omit *:0", {}), "the model has no experts");
    EXPECT_EQ(misfit("omit 2:0-7"), "every expert of layer 2 is omitted; a token needs 2");
    EXPECT_EQ(misfit("omit 2:0-6"), "layer 2 has 1 expert left, and a token uses 2");
    EXPECT_EQ(misfit("only *:3"), "layer 1 has 1 expert left, and a token uses 2");
    EXPECT_EQ(misfit("omit 2:0-6", {{2, 8, 0}}), "");
}

// Four groups of four; the router takes two of them, those whose two best experts score highest.
TEST(expert_mask, leaves_enough_in_every_choice_of_groups) {
    const auto with = [](const std::string & mask) { return misfit(mask, {{0, 16, 4, 4, 2}}); };
    EXPECT_EQ(with("omit 0:0-1,0:4-5"), "");         // two and two
    EXPECT_EQ(with("omit 0:0-3,0:4-7"), "");         // groups without any are not taken while there are others
    EXPECT_EQ(with("omit 0:0-2,0:4-6"), "");         // nor are those with one
    EXPECT_EQ(with("omit 0:0-11"), "");              // four, and none
    EXPECT_EQ(with("omit 0:0-2,0:4-6,0:8-10"), "");  // four and one
    const std::string few =
        "layer 0 chooses 2 of its 4 groups first, and some that it may choose have too few experts left: "
        "a token uses 4";
    EXPECT_EQ(with("only 0:0,0:4,0:8,0:12"), few);    // one and one
    EXPECT_EQ(with("only 0:0-1,0:4,0:8,0:12"), few);  // two and one
    EXPECT_EQ(with("only 0:0-2,0:4"), "");            // three and one
}

}  // namespace
}  // namespace moescope
