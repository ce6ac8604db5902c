// moescope analyze compare: two runs of the same tokens, or of different models.

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/agreement.hpp"
#include "analysis/shape_free.hpp"
#include "analysis/tools/running_stats.hpp"
#include "cli/answers/matched_runs.hpp"
#include "cli/answers/profile_files.hpp"
#include "cli/answers/profile_tables.hpp"
#include "cli/answers/shared.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "io/path.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

std::vector<cell> agreement_row(const block_agreement & b) {
    const double n    = double(b.overlap.n());
    const double half = 1.96 * b.overlap.sd() / std::sqrt(n);
    return {layer_cell(b.layout),
            block_cell(b.layout),
            whole(b.overlap.n()),
            b.overlap.mean(),
            b.overlap.mean() - half,
            std::min(1.0, b.overlap.mean() + half),
            b.overlap_by_chance,
            n > 0 ? double(b.same_set) / n : unknown,
            n > 0 ? double(b.same_top) / n : unknown,
            b.rank_correlation(),
            b.distance()};
}

const std::vector<table_column> agreement_columns = {layer_column,
                                                     block_column,
                                                     {"rows", "rows", shown::integer},
                                                     {"overlap", "|A and B|/k", shown::percent},
                                                     {"overlap_low", "from", shown::percent},
                                                     {"overlap_high", "to (95 %)", shown::percent},
                                                     {"overlap_chance", "k/E", shown::percent},
                                                     {"same_set", "same set", shown::percent},
                                                     {"same_first", "same first", shown::percent},
                                                     {"rank_correlation", "rank corr.", shown::real},
                                                     {"distance", "JS distance", shown::real}};

struct named_run {
    std::string       path, model;
    shape_free_result measures;
};

named_run measure_run(const std::string & path, const analyze_options & o) {
    const auto source = open_trace(o, path);
    require_rows(*source);
    shape_free s;
    feed(*source, o, {&s});
    return {path, source->model().name, s.result()};
}

// By file name; by path where two files have the same.
std::pair<std::string, std::string> names_of(const named_run & a, const named_run & b) {
    const std::string x = io::base_name(a.path), y = io::base_name(b.path);
    return x == y ? std::pair(printable(a.path), printable(b.path)) : std::pair(printable(x), printable(y));
}

table side_by_side(const named_run & first, const named_run & second) {
    const shape_free_result &a = first.measures, &b = second.measures;
    const auto               names = names_of(first, second);
    table                    t{"side_by_side",
            "Side by side, means over layers",
            {{"measure", "measure"}, {"first", names.first, shown::real}, {"second", names.second, shown::real}},
            {}};

    const auto add = [&](const char * name, double shape_free_result::*field) {
        t.rows.push_back({std::string(name), a.*field, b.*field});
    };
    add("tokens", &shape_free_result::tokens);
    add("MoE layers", &shape_free_result::blocks);
    add("experts per layer", &shape_free_result::experts);
    add("experts used (k)", &shape_free_result::k);
    add("normalised entropy", &shape_free_result::entropy);
    add("Gini", &shape_free_result::gini);
    add("share of experts that take 90 %", &shape_free_result::held);
    add("share of experts never used", &shape_free_result::dead);
    add("overlap with the previous token", &shape_free_result::overlap);
    add("overlap of any two tokens", &shape_free_result::random);
    return t;
}

// Standard deviations above randomly numbered experts from which on two models count as related.
constexpr double surely_related = 3;

std::vector<figure> token_figures(const agreement_result & r) {
    return {{"tokens_matched", whole(r.tokens_matched)},
            {"tokens_differ", whole(r.tokens_differ)},
            {"tokens_after", whole(r.tokens_after)},
            {"tokens_unmatched", whole(r.tokens_unmatched)}};
}

void add_token_notes(answer & a, const agreement_result & r) {
    if (r.tokens_differ > 0) {
        a.notes.push_back(fmt::format("{} sequences diverge at some token; the {} tokens after it have another context "
                                      "and were not compared",
                                      with_commas(r.tokens_differ), with_commas(r.tokens_after)));
    }
    if (r.tokens_unmatched > 0) {
        a.notes.push_back(with_commas(r.tokens_unmatched) +
                          " tokens have no counterpart, or no known position in a sequence");
    }
    if (r.ids_unknown) {
        a.notes.push_back("token ids are not known in one of the runs: tokens were matched by position only");
    }
}

void add_agreement(answer & a, const agreement_result & r, bool names_differ) {
    table t{"layers", "Agreement of the two runs on the same tokens; k/E is chance", agreement_columns, {}};
    for (const block_agreement & b : r.blocks) {
        t.rows.push_back(agreement_row(b));
    }
    const running_stats mean = overall(r);
    a.headline.push_back(fmt::format("The runs share {:.2f} % of a token's experts (chance: {:.2f} %), over "
                                     "{} and {}.",
                                     100 * mean.mean(), 100 * r.blocks.front().overlap_by_chance,
                                     counted(r.tokens_matched, "token"), counted(mean.n(), "layer")));
    if (mean.mean() < 1 && !(r.relatedness() > surely_related)) {
        a.headline.push_back(
            fmt::format("That is no more than unrelated models show ({:.1f} standard deviations): their expert "
                        "numbers mean different things, so read the measures side by side, not expert by expert.",
                        r.relatedness()));
    }
    a.tables.push_back(std::move(t));
    add_token_notes(a, r);
    if (names_differ) {
        a.notes.push_back(
            "the models have different names: comparing expert by expert makes sense only if one was made from the "
            "other (quantised, fine-tuned)");
    }
}

// Why only measures of each run are shown.
std::string why_side_by_side(const matched_files & m) {
    const char * so = "only measures that do not depend on the shape are shown.";
    if (!m.why_not.empty()) {
        return fmt::format("The models differ ({}): expert numbers mean different things, so {}", m.why_not, so);
    }
    if (m.result.blocks.empty()) {
        return fmt::format(
            "No layer has the same number of experts and the same k in both: expert ids mean different things, so {}",
            so);
    }
    return "The runs have no token in common whose position both know: the texts may differ as well as the models, so "
           "only measures of each run are shown, side by side.";
}

answer answer_compare(const analyze_options & o) {
    refuse_filters(o, "compare");
    if (is_profile(o.traces[0]) || is_profile(o.traces[1])) {
        refuse_row_options(o);
        return answer_profile_compare(o.traces[0], o.traces[1]);
    }
    const matched_files      m     = measure_files(o.traces[0], o.traces[1], o);
    const agreement_result & r     = m.result;
    const named_run          first = measure_run(o.traces[0], o), second = measure_run(o.traces[1], o);
    const running_stats      mean = overall(r);
    answer                   a;
    a.kind    = "compare";
    a.figures = token_figures(r);
    a.figures.push_back({"overlap", mean.mean()});
    a.figures.push_back({"relatedness", r.relatedness()});
    if (mean.n() > 0) {
        add_agreement(a, r, m.names_differ && !m.mapped);
    } else {
        a.headline.push_back(first.measures.tokens == 0 && second.measures.tokens == 0
                                 ? "Both traces are empty: no expert was selected."
                                 : why_side_by_side(m));
    }
    for (const named_run * run : {&first, &second}) {
        if (!run->model.empty()) {
            a.notes.push_back(printable(io::base_name(run->path)) + " is a run of " + printable(run->model));
        }
    }
    if (m.mapped) {
        a.notes.push_back("experts of a pruned model have their numbers in the full one here, and chance is k of all");
    }
    a.tables.push_back(side_by_side(first, second));
    return a;
}

}  // namespace

void add_compare(CLI::App & analyze) {
    CLI::App * kind = add_analysis(analyze, "compare",
                                   "how two runs differ: quantisations, backends, fine-tunes, pruned against full", 2,
                                   2, answer_compare);
    add_examples(
        *kind, {{"moescope analyze compare full.moetrace pruned.moetrace", "how often both choose the same experts"}});
}

}  // namespace moescope::cli
