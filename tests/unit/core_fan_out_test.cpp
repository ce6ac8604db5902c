#include "core/fan_out.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace moescope {
namespace {

// Writes down what it hears, and throws at a note of its name.
class listener final : public routing_sink {
public:
    listener(std::string name, std::vector<std::string> & heard) : name_(std::move(name)), heard_(heard) {}
    ~listener() override { heard_.push_back(name_ + " ends"); }
    void model(const model_info & m) override { heard_.push_back(name_ + " model " + m.name); }
    void piece(int32_t token, const std::string &) override {
        heard_.push_back(name_ + " piece " + std::to_string(token));
    }
    uint32_t access(const access_list &) override { return number; }
    void     ubatch(const routed_ubatch & u) override { heard_.push_back(name_ + " batch " + std::to_string(u.batch)); }
    void     note(const std::string & text) override {
        if (text == name_) {
                throw std::runtime_error(name_ + " fails");
        }
        heard_.push_back(name_ + " note " + text);
    }
    uint32_t number = 0;

private:
    std::string                name_;
    std::vector<std::string> & heard_;
};

using lines = std::vector<std::string>;

TEST(fan_out, hands_everything_to_each_in_order) {
    lines    heard;
    listener a("a", heard);
    {
        fan_out all(a);
        all.add(std::make_unique<listener>("b", heard));
        model_info m;
        m.name = "x";
        all.model(m);
        all.piece(7, "t");
        routed_ubatch u;
        u.batch = 3;
        all.ubatch(u);
    }
    EXPECT_EQ(heard, (lines{"a model x", "b model x", "a piece 7", "b piece 7", "a batch 3", "b batch 3", "b ends"}))
        << "b was its own, a is not";
}

TEST(fan_out, gives_the_number_of_those_that_keep_access_lists) {
    lines    heard;
    listener log("log", heard), trace("trace", heard);
    trace.number = 4;
    fan_out all(log);
    all.add(trace);
    EXPECT_EQ(all.access({}), 4u);
}

TEST(fan_out, drops_a_sink_that_fails_and_says_why) {
    lines   heard, failures;
    fan_out all;
    for (const char * name : {"a", "b", "c"}) {
        all.add(std::make_unique<listener>(name, heard));
    }
    all.on_failure = [&](const std::string & why) { failures.push_back(why); };
    all.note("b");
    EXPECT_EQ(heard, (lines{"a note b", "b ends", "c note b"}));
    EXPECT_EQ(failures, (lines{"b fails"}));
    heard.clear();
    all.note("a");
    all.note("c");
    EXPECT_EQ(heard, (lines{"a ends", "c note a", "c ends"}));
    EXPECT_TRUE(all.empty());
}

TEST(fan_out, lets_failures_pass_where_nobody_wants_to_hear_of_them) {
    lines    heard;
    listener a("a", heard);
    fan_out  all(a);
    EXPECT_THROW(all.note("a"), std::runtime_error);
    EXPECT_FALSE(all.empty());
}

}  // namespace
}  // namespace moescope
