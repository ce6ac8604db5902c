// moescope analyze coactivation: which experts work together.

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/coactivation.hpp"
#include "cli/answers/shared.hpp"
#include "cli/help/examples.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

const std::vector<table_column> pair_columns = {
    {"from_layer", "layer", shown::integer},  {"from_block", "", shown::integer},
    {"a", "expert", shown::integer},          {"to_layer", "layer", shown::integer},
    {"to_block", "", shown::integer},         {"b", "expert", shown::integer},
    {"both", "together", shown::integer},     {"n_a", "first", shown::integer},
    {"n_b", "second", shown::integer},        {"conditional", "N(ab)/N(a)", shown::percent},
    {"lift", "lift", shown::ratio},           {"lift_low", "from", shown::ratio},
    {"lift_high", "to (95 %)", shown::ratio}, {"lift_chance", "random", shown::ratio}};

struct found {
    const pair_counts * counts;
    expert_pair         pair;
};

table pairs_table(const char * key, const std::string & title, const std::vector<pair_counts> & all, size_t top) {
    table              t{key, title, pair_columns, {}, top};
    std::vector<found> best;
    for (const pair_counts & p : all) {
        for (const expert_pair & pair : top_pairs(p, top)) {
            best.push_back({&p, pair});
        }
    }
    std::stable_sort(best.begin(), best.end(), [](auto & x, auto & y) { return x.pair.range.low > y.pair.range.low; });
    for (const found & f : best) {
        const pair_counts & p = *f.counts;
        const expert_pair & e = f.pair;
        t.rows.push_back({layer_cell(p.from), block_cell(p.from), whole(e.a), layer_cell(p.to), block_cell(p.to),
                          whole(e.b), whole(p.n_both(e.a, e.b)), whole(p.count_from[e.a]), whole(p.count_to[e.b]),
                          p.conditional(e.a, e.b), e.lift, e.range.low, e.range.high, p.lift_by_chance()});
    }
    return t;
}

// Every pair, for programs; only on request, since it is n_expert² rows per layer.
table all_table(const coactivation_result & r) {
    table t{"all", "", pair_columns, {}, 0};
    for (const auto * group : {&r.within, &r.between}) {
        for (const pair_counts & p : *group) {
            for (uint32_t a = 0; a < p.from.n_expert; ++a) {
                for (uint32_t b = 0; b < p.to.n_expert; ++b) {
                    if (p.n_both(a, b) == 0) {
                        continue;
                    }
                    const interval i = p.lift_interval(a, b);
                    t.rows.push_back({layer_cell(p.from), block_cell(p.from), whole(a), layer_cell(p.to),
                                      block_cell(p.to), whole(b), whole(p.n_both(a, b)), whole(p.count_from[a]),
                                      whole(p.count_to[b]), p.conditional(a, b), p.lift(a, b), i.low, i.high,
                                      p.lift_by_chance()});
                }
            }
        }
    }
    return t;
}

answer answer_coactivation(const analyze_options & o, bool all_pairs) {
    coactivation c;
    answer       a;
    read_rows(o, "coactivation", c, a, require_memory_for_pairs);
    const coactivation_result r = c.result();
    uint64_t                  n = 0;
    for (const pair_counts & p : r.within) {
        n += p.rows;
    }
    a.figures = {{"rows", whole(n)}};
    a.tables  = {pairs_table("within", "Strongest pairs within a layer, by the lower end of their lift's interval",
                             r.within, o.top),
                 pairs_table("between", "Strongest pairs from one layer to the next", r.between, o.top)};
    a.figures.push_back({"least_together", whole(least_together)});
    if (all_pairs) {
        a.tables.push_back(all_table(r));
    }
    if (a.tables[0].rows.empty()) {
        a.headline.push_back(
            n == 0 ? nothing_selected
                   : fmt::format("No two experts of one layer serve the same token {} times or more.", least_together));
    } else {
        const auto & best = a.tables[0].rows.front();
        const double low = std::get<double>(best[11]), chance = std::get<double>(best[13]);
        a.headline.push_back(
            fmt::format("Strongest pair: layer {}, experts {} and {}, together {:.1f} times as often as their "
                        "frequencies alone would give ({:.1f} to {:.1f}; random routing: {:.2f}){}.",
                        std::get<int64_t>(best[0]), std::get<int64_t>(best[2]), std::get<int64_t>(best[5]),
                        std::get<double>(best[10]), low, std::get<double>(best[12]), chance,
                        low > chance ? "" : ": no more than chance"));
        a.notes.push_back(
            "pairs are ranked by the lower end of their interval; among so many, some miss the true value by chance");
    }
    return a;
}

}  // namespace

void add_coactivation(CLI::App & analyze) {
    auto       all  = std::make_shared<bool>(false);
    CLI::App * kind = add_analysis(analyze, "coactivation",
                                   "which experts are selected together, within a layer and from one layer to the next",
                                   1, 1, [=](const analyze_options & o) { return answer_coactivation(o, *all); });
    kind->add_flag("--all-pairs", *all, "add a table 'all' of every pair");
    add_examples(*kind, {{"moescope analyze coactivation run.moetrace --top 20", "the 20 pairs that stand out most"}});
}

}  // namespace moescope::cli
