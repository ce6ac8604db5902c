// Comparing two predictions, and adding the comparisons up: against plain double precision, and against answers by hand.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "core/random_stream.hpp"
#include "evaluate/damage_sums.hpp"
#include "evaluate/exponentials.hpp"
#include "evaluate/row_score.hpp"
#include "evaluate/sample_units.hpp"

namespace {

using namespace moescope;
using namespace moescope::evaluate;

std::vector<float> random_logits(random_stream & random, size_t n, double spread) {
    std::vector<float> x(n);
    for (float & v : x) {
        v = static_cast<float>(spread * random.normal());
    }
    return x;
}

std::vector<double> log_softmax(const std::vector<float> & x) {
    const double most = *std::max_element(x.begin(), x.end());
    double       sum  = 0;
    for (const float v : x) {
        sum += std::exp(double{v} - most);
    }
    std::vector<double> l;
    for (const float v : x) {
        l.push_back(double{v} - most - std::log(sum));
    }
    return l;
}

std::vector<size_t> best(const std::vector<float> & x) {
    std::vector<size_t> ids(x.size());
    std::iota(ids.begin(), ids.end(), size_t{0});
    std::stable_sort(ids.begin(), ids.end(), [&](size_t a, size_t b) { return x[a] > x[b]; });
    ids.resize(std::min<size_t>(ids.size(), 5));
    return ids;
}

// The definition, term by term.
row_score by_definition(const std::vector<float> & full, const std::vector<float> & changed, int32_t target) {
    const std::vector<double> p = log_softmax(full), q = log_softmax(changed);
    row_score                 s;
    s.nll_full    = -p[static_cast<size_t>(target)];
    s.nll_changed = -q[static_cast<size_t>(target)];
    for (size_t i = 0; i < p.size(); ++i) {
        s.kl += std::isinf(p[i]) ? 0 : std::exp(p[i]) * (p[i] - q[i]);
    }
    const std::vector<size_t> a = best(full), b = best(changed);
    s.same_top = a[0] == b[0];
    for (const size_t id : a) {
        s.n_top5 += std::count(b.begin(), b.end(), id) > 0 ? 1 : 0;
    }
    return s;
}

void expect_same(const row_score & got, const row_score & want, const std::string & where) {
    EXPECT_NEAR(got.nll_full, want.nll_full, 1e-6 * (1 + want.nll_full)) << where;
    EXPECT_NEAR(got.nll_changed, want.nll_changed, 1e-6 * (1 + want.nll_changed)) << where;
    EXPECT_NEAR(got.kl, want.kl, 1e-7 + 1e-6 * want.kl) << where;
    EXPECT_EQ(got.same_top, want.same_top) << where;
    EXPECT_EQ(got.n_top5, want.n_top5) << where;
}

TEST(exponentials, every_processor_gives_the_same_bits) {
    random_stream random(3);
    for (const size_t n : {1, 7, 8, 255, 256, 257, 32003}) {
        const std::vector<float> full = random_logits(random, n, 20), changed = random_logits(random, n, 20);
        const logit_row          f     = {full.data(), *std::max_element(full.begin(), full.end())};
        const logit_row          c     = {changed.data(), *std::max_element(changed.begin(), changed.end())};
        const exponential_sums   first = exponential_codes().front()(f, c, n);
        for (const exponential_code code : exponential_codes()) {
            const exponential_sums s = code(f, c, n);
            EXPECT_EQ(s.full, first.full) << n;
            EXPECT_EQ(s.changed, first.changed) << n;
            EXPECT_EQ(s.apart, first.apart) << n;
        }
    }
}

TEST(row_score, is_the_definition_for_vocabularies_of_any_size) {
    random_stream random(1);
    for (const size_t n : {1, 2, 4, 5, 6, 255, 256, 257, 1000, 32003}) {
        for (const double change : {1e-3, 0.1, 3.0}) {
            const std::vector<float> full    = random_logits(random, n, 4);
            std::vector<float>       changed = random_logits(random, n, change);
            for (size_t i = 0; i < n; ++i) {
                changed[i] += full[i] + 100;  // a constant changes no probability
            }
            const auto target = static_cast<int32_t>(random.below(static_cast<uint32_t>(n)));
            expect_same(compare_rows(full.data(), changed.data(), n, target), by_definition(full, changed, target),
                        std::to_string(n) + " tokens, change " + std::to_string(change));
        }
    }
}

TEST(row_score, of_two_coins_is_the_formula) {
    // P = (3/4, 1/4), Q = (1/4, 3/4): KL = 1/2 ln 3.
    const float     full[] = {std::log(3.0F), 0}, changed[] = {0, std::log(3.0F)};
    const row_score s = compare_rows(full, changed, 2, 1);
    EXPECT_NEAR(s.kl, 0.5 * std::log(3.0), 1e-6);
    EXPECT_NEAR(s.nll_full, std::log(4.0), 1e-6);
    EXPECT_NEAR(s.nll_changed, std::log(4.0 / 3), 1e-6);
    EXPECT_FALSE(s.same_top);
    EXPECT_EQ(s.n_top5, 2u);
}

TEST(row_score, of_no_change_is_exactly_nothing) {
    random_stream random(2);
    for (const size_t n : {1, 7, 256, 5000}) {
        const std::vector<float> x = random_logits(random, n, 6);
        const row_score          s = compare_rows(x.data(), x.data(), n, 0);
        EXPECT_EQ(s.kl, 0);
        EXPECT_EQ(s.nll_full, s.nll_changed);
        EXPECT_TRUE(s.same_top);
        EXPECT_EQ(s.n_top5, std::min<size_t>(n, 5));
    }
}

TEST(row_score, tokens_that_cannot_be_count_for_nothing) {
    std::vector<float> full = {1, 2, 3, -INFINITY, -200}, changed = {1.5F, 2, 2.5F, -INFINITY, -300};
    expect_same(compare_rows(full.data(), changed.data(), 5, 1), by_definition(full, changed, 1), "-inf in both");
    changed[3] = 0;  // Q can make what P cannot
    expect_same(compare_rows(full.data(), changed.data(), 5, 1), by_definition(full, changed, 1), "-inf in P");
    full[3]    = 0;
    changed[3] = -INFINITY;
    EXPECT_GT(compare_rows(full.data(), changed.data(), 5, 1).kl, 1e20);
}

TEST(row_score, equally_likely_tokens_go_by_their_ids) {
    const std::vector<float> full = {1, 1, 1, 1, 1, 1, 1}, changed = {0, 1, 1, 1, 1, 1, 1};
    const row_score          s = compare_rows(full.data(), changed.data(), 7, 0);
    EXPECT_FALSE(s.same_top);  // 0, then 1
    EXPECT_EQ(s.n_top5, 4u);   // 0 to 4, then 1 to 5
}

TEST(row_score, threads_change_nothing) {
    random_stream                   random(3);
    const size_t                    n = 40000;
    std::vector<std::vector<float>> logits;
    std::vector<row_pair>           pairs;
    for (int i = 0; i < 22; ++i) {
        logits.push_back(random_logits(random, n, 3));
    }
    for (size_t i = 0; i + 1 < logits.size(); ++i) {
        pairs.push_back({logits[i].data(), logits[i + 1].data(), static_cast<int32_t>(i)});
    }
    const std::vector<row_score> one = compare_rows(pairs, n, 1), many = compare_rows(pairs, n, 3);
    ASSERT_EQ(many.size(), pairs.size());
    for (size_t i = 0; i < pairs.size(); ++i) {
        EXPECT_EQ(one[i].kl, many[i].kl);
        EXPECT_EQ(one[i].nll_changed, compare_rows(pairs[i].full, pairs[i].changed, n, pairs[i].target).nll_changed);
    }
}

TEST(damage, is_the_mean_per_token) {
    damage_sums a, b;
    a.add({1, 2, 0.5, true, 5});
    a.add({3, 3, 0.1, false, 2});
    b.add({2, 4, 0.6, true, 3});
    a.selections   = 10;
    a.displaced    = 1;
    b.selections   = 30;
    b.displaced    = 7;
    const damage d = summarize({a, b});
    EXPECT_EQ(d.tokens, 3u);
    EXPECT_NEAR(d.bits_full.value, 2 / std::log(2), 1e-12);
    EXPECT_NEAR(d.bits_changed.value, 3 / std::log(2), 1e-12);
    EXPECT_NEAR(d.delta_nll.value, 1, 1e-12);
    EXPECT_NEAR(d.kl.value, 0.4, 1e-12);
    EXPECT_NEAR(d.same_top.value, 2.0 / 3, 1e-12);
    EXPECT_NEAR(d.top5.value, 2.0 / 3, 1e-12);
    EXPECT_NEAR(d.displaced.value, 0.2, 1e-12);
    EXPECT_NEAR(d.kl.range.low, 0.3, 1e-12);  // of two units, a draw is one, the other, or both
    EXPECT_NEAR(d.kl.range.high, 0.6, 1e-12);
}

TEST(damage, of_nothing_is_unknown) {
    EXPECT_TRUE(std::isnan(summarize({}).kl.value));
    damage_sums one;
    one.add({1, 2, 0.5, true, 5});
    const damage d = summarize({one});
    EXPECT_EQ(d.kl.value, 0.5);
    EXPECT_TRUE(std::isnan(d.kl.range.low));
    EXPECT_TRUE(std::isnan(d.displaced.value));
}

TEST(sample_units, one_for_each_sample_until_there_are_too_many) {
    const sample_units few = make_units({0, 1, 0, 1, 1}, 2, 10);
    EXPECT_EQ(few.label, (std::vector<uint32_t>{0, 0, 1, 1, 1}));
    EXPECT_EQ(few.of_sample, (std::vector<uint32_t>{0, 2, 1, 3, 4}));

    std::vector<uint32_t> labels;
    for (uint32_t i = 0; i < 1000; ++i) {
        labels.push_back(i % 3 == 0 ? 1 : 0);
    }
    const sample_units    many = make_units(labels, 2, 16);
    std::vector<uint32_t> n(many.size());
    for (uint32_t i = 0; i < 1000; ++i) {
        EXPECT_EQ(many.label[many.of_sample[i]], labels[i]);
        n[many.of_sample[i]] += 1;
    }
    EXPECT_EQ(many.size(), 32u);
    const auto [least, most] = std::minmax_element(n.begin(), n.begin() + 16);
    EXPECT_LE(*most - *least, 1u);  // 666 or 334 samples in 16 units each
}

}  // namespace
