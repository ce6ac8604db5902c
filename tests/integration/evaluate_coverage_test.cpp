// Do evaluate's 95 % intervals hold what they promise? On the sums of a real text: the demo model and its own docs.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "core/random_stream.hpp"
#include "evaluate/evaluation.hpp"
#include "support/process.hpp"
#include "support/source_dir.hpp"

namespace {

namespace fs = std::filesystem;

using namespace moescope;
using namespace moescope::evaluate;

constexpr int repetitions = 200;

// The sums of each window of the documentation, under a plan that leaves out a quarter of the experts.
std::vector<damage_sums> windows_of_the_docs() {
    const test::scratch_folder scratch;
    const std::string &        folder = scratch.path();
    const fs::path             root   = test::source_dir();
    std::set<fs::path>         pages;
    for (const auto & entry : fs::directory_iterator(root / "docs")) {
        if (entry.path().extension() == ".md") {
            pages.insert(entry.path());
        }
    }
    std::string text;
    for (const fs::path & page : pages) {
        text += test::read_file(page.string());
    }
    text.resize(std::min<size_t>(text.size(), 60'000));
    std::ofstream(folder + "/text.txt") << text;
    const int code = test::run({test::moescope_bin(), "evaluate", "-m", (root / "models/demo.gguf").string(), "--text",
                                folder + "/text.txt", "-c", "64", "-t", "2", "--criterion", "random", "--keep", "24",
                                "-o", folder + "/x.json", "-q"},
                               folder + "/out", folder + "/err");
    EXPECT_EQ(code, 0) << test::read_file(folder + "/err");
    return read_moeval(folder + "/x.moeval").sums.front();
}

const std::vector<damage_sums> & windows() {
    static const std::vector<damage_sums> once = windows_of_the_docs();
    return once;
}

using figures = std::map<std::string, estimate>;

figures figures_of(const std::vector<damage_sums> & units) {
    const damage d = summarize(units);
    return {{"kl", d.kl}, {"delta_nll", d.delta_nll}, {"same_top", d.same_top}, {"displaced", d.displaced}};
}

bool holds(const estimate & e, double value) {
    return e.range.low <= value && value <= e.range.high;
}

// Whether two estimates differ by no more than the 95 % interval of their difference: each half-width is 1.96 of its own
// standard error, so that of the difference is the root of the sum of their squares.
bool agree(const estimate & a, const estimate & b) {
    const double half = std::hypot(a.range.high - a.range.low, b.range.high - b.range.low) / 2;
    return std::fabs(a.value - b.value) <= half;
}

TEST(evaluate_intervals, hold_on_halves_of_a_text) {
    std::vector<damage_sums> units = windows();
    ASSERT_GT(units.size(), 200u);
    std::map<std::string, int> other_half, difference;
    random_stream              random(11);
    for (int r = 0; r < repetitions; ++r) {
        for (size_t i = units.size(); i > 1; --i) {
            std::swap(units[i - 1], units[random.below(static_cast<uint32_t>(i))]);
        }
        const auto    middle = units.begin() + static_cast<ptrdiff_t>(units.size() / 2);
        const figures a = figures_of({units.begin(), middle}), b = figures_of({middle, units.end()});
        for (const auto & [name, e] : a) {
            other_half[name] += holds(e, b.at(name).value) ? 1 : 0;
            difference[name] += agree(e, b.at(name)) ? 1 : 0;
        }
    }
    // The other half's figure has an error of its own, as large as this half's: an interval of ±1.96 standard errors, exact as it
    // may be, holds it only where |N(0, 2)| < 1.96, that is 83 times of 100. Both errors together make 95.
    for (const auto & [name, n] : difference) {
        const double share = double(n) / repetitions, alone = double(other_half[name]) / repetitions;
        std::printf(
            "%-10s the halves agree within their intervals %.1f %% of the time (95), one holds the other's figure %.1f %% (83)\n",
            name.c_str(), 100 * share, 100 * alone);
        EXPECT_GE(share, 0.85) << name;
        EXPECT_GE(alone, 0.75) << name;
        EXPECT_LE(alone, 0.93) << name;  // nor are they wider than they say
    }
}

TEST(evaluate_intervals, hold_the_figure_of_the_text_that_samples_are_drawn_from) {
    const std::vector<damage_sums> & text  = windows();
    const figures                    truth = figures_of(text);
    std::map<std::string, int>       held;
    random_stream                    random(12);
    for (int r = 0; r < repetitions; ++r) {
        std::vector<damage_sums> sample;
        for (size_t i = 0; i < text.size() / 2; ++i) {
            sample.push_back(text[random.below(static_cast<uint32_t>(text.size()))]);
        }
        for (const auto & [name, e] : figures_of(sample)) {
            held[name] += holds(e, truth.at(name).value) ? 1 : 0;
        }
    }
    for (const auto & [name, n] : held) {
        std::printf("%-10s %.1f %% of the 95 %% intervals hold the text's figure\n", name.c_str(),
                    100.0 * n / repetitions);
        EXPECT_GE(double(n) / repetitions, 0.85) << name;
        EXPECT_LT(n, repetitions) << name;
    }
}

}  // namespace
