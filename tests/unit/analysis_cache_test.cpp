// Cache simulation: policies on sequences worked by hand, and what must hold for any routing.

#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "analysis/cache_verdict.hpp"
#include "analysis/tools/row_filter.hpp"
#include "analysis/tools/slices.hpp"
#include "core/random_stream.hpp"
#include "support/routing_builder.hpp"

namespace {

using namespace moescope;
using namespace moescope::analysis;
using moescope::test::block_of;
using moescope::test::routing_builder;

std::vector<int> hits_of(cache_pool & pool, const std::vector<uint32_t> & accesses) {
    std::vector<int> hits;
    for (const uint32_t a : accesses) {
        hits.push_back(pool.access(a));
    }
    return hits;
}

TEST(cache_policy, lru_forgets_the_least_recently_used) {
    EXPECT_EQ(hits_of(*make_lru(2), {1, 2, 1, 3, 2, 1}), (std::vector<int>{0, 0, 1, 0, 0, 0}));
}

TEST(cache_policy, lfu_forgets_the_least_frequently_used) {
    // 3 replaces 2 (used once, 1 twice), 2 replaces 3.
    EXPECT_EQ(hits_of(*make_lfu(2), {1, 2, 1, 3, 1, 2}), (std::vector<int>{0, 0, 1, 0, 1, 0}));
}

TEST(cache_policy, fixed_holds_the_most_counted_for_good) {
    EXPECT_EQ(hits_of(*make_fixed(2, {5, 1, 7}), {0, 1, 2, 1}), (std::vector<int>{1, 0, 1, 0}));
}

// The policies as plainly as possible: a list of slices from the one that goes last to the one that goes first.
std::vector<int> plain_hits(const std::vector<uint32_t> & accesses, size_t n_slot, bool by_count) {
    std::vector<uint32_t>        held;
    std::map<uint32_t, uint64_t> count, last;
    std::vector<int>             hits;
    uint64_t                     clock = 0;
    for (const uint32_t a : accesses) {
        const bool hit = std::find(held.begin(), held.end(), a) != held.end();
        hits.push_back(hit);
        if (!hit && held.size() == n_slot) {
            held.erase(std::min_element(held.begin(), held.end(), [&](uint32_t x, uint32_t y) {
                return by_count && count[x] != count[y] ? count[x] < count[y] : last[x] < last[y];
            }));
        }
        if (!hit) {
            held.push_back(a);
        }
        count[a] += 1;
        last[a] = ++clock;
    }
    return hits;
}

TEST(cache_policy, lru_and_lfu_do_as_their_definition_says) {
    random_stream random(17);
    for (const uint32_t slots : {1u, 2u, 5u, 16u}) {
        std::vector<uint32_t> a(3000);
        for (uint32_t & x : a) {
            x = std::min(random.below(24), random.below(24));
        }
        EXPECT_EQ(hits_of(*make_lru(slots), a), plain_hits(a, slots, false)) << slots;
        EXPECT_EQ(hits_of(*make_lfu(slots), a), plain_hits(a, slots, true)) << slots;
    }
}

TEST(cache_policy, random_holds_as_many_as_it_has_slots) {
    // Accesses drawn evenly from n: of n slices s are there, so s / n of the reads hit.
    random_stream         random(5);
    std::vector<uint32_t> a(40'000);
    for (uint32_t & x : a) {
        x = random.below(20);
    }
    const std::vector<int> hits = hits_of(*make_random(5, 1), a);
    EXPECT_NEAR(double(std::count(hits.begin(), hits.end(), 1)) / 40'000, 0.25, 0.01);
}

TEST(cache_policy, without_slots_nothing_hits) {
    for (const auto & pool : {make_lru(0), make_lfu(0), make_random(0, 1), make_fixed(0, {1, 2, 3})}) {
        EXPECT_EQ(hits_of(*pool, {1, 1, 2, 1}), (std::vector<int>{0, 0, 0, 0}));
    }
}

TEST(slices, are_read_once_by_rising_id_however_many_rows_select_them) {
    const std::pair<uint32_t, uint32_t> shapes[] = {{9, 3}, {9, 200}, {1024, 3}, {1025, 3}, {1025, 200}};
    for (const auto & [n_expert, n_rows] : shapes) {  // up to 1024 experts are marked, more are sorted
        const uint32_t                          last = n_expert - 1, none = n_expert + 2;
        routing_builder                         t({block_of(0, n_expert, 2)});
        std::vector<moescope::test::token_rows> rows;
        for (uint32_t r = 0; r < n_rows; ++r) {
            rows.push_back({-1, int32_t(r), 0, phase::prefill, {{{r % 3 == 0 ? last : 2u, r % 3 == 1 ? none : 5u}}}});
        }
        t.ubatch(rows);
        struct : routing_sink {
            std::vector<uint32_t> ids;
            void                  ubatch(const routed_ubatch & u) override { slices_read(u.blocks[0], ids); }
        } read;
        t.feed(read);
        EXPECT_EQ(read.ids, (std::vector<uint32_t>{2, 5, last})) << n_expert << " experts, " << n_rows << " rows";
    }
}

// Every policy with bypass, by trying all of them: the most hits that any way of keeping slices can have.
int best_by_search(const std::vector<uint32_t> & a, size_t at, std::set<uint32_t> held, size_t n_slot) {
    if (at == a.size()) {
        return 0;
    }
    if (held.count(a[at])) {
        return 1 + best_by_search(a, at + 1, held, n_slot);
    }
    int best = best_by_search(a, at + 1, held, n_slot);  // pass by
    if (held.size() < n_slot) {
        held.insert(a[at]);
        return std::max(best, best_by_search(a, at + 1, held, n_slot));
    }
    for (const uint32_t victim : std::set<uint32_t>(held)) {
        std::set<uint32_t> other = held;
        other.erase(victim);
        other.insert(a[at]);
        best = std::max(best, best_by_search(a, at + 1, other, n_slot));
    }
    return best;
}

TEST(cache_policy, optimum_equals_exhaustive_search) {
    random_stream random(3);
    for (int round = 0; round < 60; ++round) {
        std::vector<uint32_t> a(9);
        for (uint32_t & x : a) {
            x = random.below(4);
        }
        for (const uint32_t slots : {0u, 1u, 2u, 3u}) {
            const auto hits = simulate_optimum(a, 4, slots);
            EXPECT_EQ(std::count(hits.begin(), hits.end(), 1), best_by_search(a, 0, {}, slots))
                << round << " " << slots;
        }
    }
}

cache_result simulate(const routing_builder & t, cache_plan plan) {
    cache_counts first;
    t.feed(first);
    cache_counts second(first.ubatches() / 2);
    t.feed(second);
    cache simulated(plan, second);
    t.feed(simulated);
    return simulated.result();
}

const cache_score & score_of(const cache_result & r, cache_policy p, uint32_t slots) {
    return *std::find_if(r.scores.begin(), r.scores.end(), [&](auto & s) { return s.policy == p && s.slots == slots; });
}

routing_builder skewed(uint32_t n_sequences, uint32_t n_tokens) {
    routing_builder t({block_of(0, 16, 2), block_of(1, 8, 3)});
    random_stream   random(11);
    const auto      draw = [&](uint32_t n, uint32_t k) {
        std::vector<uint32_t> ids;
        while (ids.size() < k) {
            const uint32_t e = std::min(random.below(n), random.below(n));
            if (std::find(ids.begin(), ids.end(), e) == ids.end()) {
                ids.push_back(e);
            }
        }
        return moescope::test::row{ids};
    };
    for (uint32_t s = 0; s < n_sequences; ++s) {
        for (uint32_t i = 0; i < n_tokens; ++i) {
            t.token(0, int32_t(i), {draw(16, 2), draw(8, 3)});
        }
    }
    return t;
}

TEST(cache, no_policy_beats_the_optimum) {
    const routing_builder t = skewed(6, 50);
    for (const bool global : {false, true}) {
        cache_plan plan;
        plan.slots           = {1, 3, 5, 7};
        plan.global          = global;
        const cache_result r = simulate(t, plan);
        for (const uint32_t slots : plan.slots) {
            const cache_score & best = score_of(r, cache_policy::optimum, slots);
            for (const auto policy :
                 {cache_policy::lru, cache_policy::lfu, cache_policy::fixed, cache_policy::random}) {
                const cache_score & s = score_of(r, policy, slots);
                EXPECT_LE(s.hits, best.hits) << to_string(policy) << " " << slots;
                EXPECT_EQ(s.accesses, best.accesses);
                EXPECT_EQ(s.cold, best.cold);
            }
            EXPECT_EQ(best.cold_hits, 0u);
        }
    }
}

TEST(cache, lru_with_a_slot_for_each_expert_misses_only_cold) {
    cache_plan plan;
    plan.slots           = {16};
    const cache_result r = simulate(skewed(2, 40), plan);
    for (const auto policy : {cache_policy::lru, cache_policy::lfu, cache_policy::random, cache_policy::optimum}) {
        EXPECT_EQ(score_of(r, policy, 16).hit_rate(), 1) << to_string(policy);
    }
    EXPECT_EQ(score_of(r, cache_policy::lru, 16).accesses, 80u * 5);
}

TEST(cache, counts_an_ubatch_once_for_all_its_rows) {
    routing_builder t({block_of(0, 8, 1)});
    t.ubatch({{-1, 0, 0, phase::prefill, {{{3}}}},
              {-1, 1, 0, phase::prefill, {{{3}}}},
              {-1, 2, 0, phase::prefill, {{{5}}}}});
    t.ubatch({{-1, 3, 0, phase::decode, {{{3}}}}});
    cache_plan plan;
    plan.slots            = {8};
    plan.sizes.blocks     = {{0, 0, 100}};
    const cache_result  r = simulate(t, plan);
    const cache_score & s = score_of(r, cache_policy::lru, 8);
    EXPECT_EQ(s.accesses, 3u);  // {3, 5}, then {3} in the other half, which starts empty
    EXPECT_EQ(s.cold, 3u);
    EXPECT_EQ(s.bytes_missed, 300);
    EXPECT_EQ(r.tokens, 4u);
}

TEST(cache, static_is_measured_on_the_half_it_was_not_fitted_to) {
    // First half uses expert 1 alone, second half expert 2 alone: what was fitted is never there.
    routing_builder t({block_of(0, 4, 1)});
    for (int i = 0; i < 10; ++i) {
        t.token(0, i, {{{i < 5 ? 1u : 2u}}});
    }
    cache_plan plan;
    plan.slots           = {1};
    const cache_result r = simulate(t, plan);
    EXPECT_EQ(score_of(r, cache_policy::fixed, 1).hits, 0u);
    EXPECT_EQ(score_of(r, cache_policy::lru, 1).hits, 8u);  // all but the two cold ones
}

TEST(cache, ranks_the_policies_that_can_be_built) {
    cache_plan plan;
    plan.slots                   = {4};
    const cache_result   r       = simulate(skewed(40, 30), plan);
    const policy_ranking ranking = rank_policies(r, 4);
    ASSERT_EQ(ranking.scores.size(), 7u);
    for (size_t i = 1; i < ranking.scores.size(); ++i) {
        EXPECT_NE(ranking.scores[i]->policy, cache_policy::optimum);
        EXPECT_GE(ranking.scores[i - 1]->hits, ranking.scores[i]->hits);
        const double lead = ranking.scores[0]->hit_rate() - ranking.scores[i]->hit_rate();
        EXPECT_LT(ranking.lead[i].low, lead);
        EXPECT_GT(ranking.lead[i].high, lead);
    }
    // Rows are drawn independently, so what is popular is all there is to know, and evicting at random cannot lead.
    EXPECT_NE(ranking.scores[0]->policy, cache_policy::random);
    EXPECT_GT(ranking.lead.back().low, 0);
    EXPECT_TRUE(rank_policies(r, 5).scores.empty());
}

TEST(cache, with_a_slot_for_each_expert_no_policy_is_surely_best) {
    cache_plan plan;
    plan.slots = {16};
    EXPECT_FALSE(rank_policies(simulate(skewed(6, 30), plan), 16).first_is_sure());
}

TEST(cache, counts_the_bytes_of_each_blocks_misses) {
    routing_builder t({block_of(0, 4, 1), block_of(1, 4, 1)});
    t.token(0, 0, {{{1}}, {{2}}}).token(0, 1, {{{1}}, {{3}}}).token(0, 2, {{{1}}, {{3}}}).token(0, 3, {{{1}}, {{2}}});
    for (const bool global : {false, true}) {
        cache_plan plan;
        plan.slots           = {1};
        plan.global          = global;
        plan.sizes.blocks    = {{0, 0, 100}, {1, 0, 7}};
        const cache_result r = simulate(t, plan);
        // Halves of two tokens. Layer 0 misses once in each; layer 1 misses all four. A pool of two slots does the same.
        EXPECT_EQ(score_of(r, cache_policy::lru, 1).bytes_missed, 2 * 100 + 4 * 7) << global;
        EXPECT_NEAR(r.mean_slice_bytes, (4 * 100 + 4 * 7) / 8.0, 1e-12);
    }
}

TEST(cache, interval_spans_the_rate_over_sequences) {
    cache_plan plan;
    plan.slots           = {4};
    const cache_result r = simulate(skewed(12, 30), plan);
    EXPECT_TRUE(r.units_are_sequences);
    EXPECT_EQ(r.units, 12u);
    const cache_score & s = score_of(r, cache_policy::lru, 4);
    const interval      i = s.hit_rate_interval();
    EXPECT_LT(i.low, s.hit_rate());
    EXPECT_GT(i.high, s.hit_rate());
    EXPECT_LT(i.high - i.low, 0.2);
}

// Two prompts under one sequence id, the second longer: among decoded tokens alone the positions just go on growing.
TEST(cache, knows_where_a_sequence_began_when_prompts_are_left_out) {
    routing_builder t({block_of(0, 4, 1)});
    for (const int n_prompt : {2, 6}) {
        for (int pos = 0; pos < n_prompt + 2; ++pos) {
            t.token(0, pos, {{{1u}}}, pos < n_prompt ? phase::prefill : phase::decode);
        }
    }
    cache_counts counts;
    row_choice   decoded;
    decoded.only = phase::decode;
    row_filter only_decoded(decoded, counts);
    t.feed(only_decoded);
    EXPECT_EQ(counts.accesses(), 4u);
    EXPECT_EQ(counts.n_sequences(), 2u);
}

}  // namespace
