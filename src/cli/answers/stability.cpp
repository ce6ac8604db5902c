// moescope analyze stability: do several runs route the same tokens alike?

#include <map>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/answers/matched_runs.hpp"
#include "cli/answers/shared.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

constexpr size_t all_pairs_most = 6;  // runs; of more, each is compared with the first

answer answer_stability(const analyze_options & o) {
    refuse_filters(o, "stability");
    answer a;
    a.kind = "stability";
    table                                                      pairs{"pairs",
                "Pairs of runs: experts shared per token, mean over layers",
                {{"run_a", "run"},
                                                                      {"run_b", "and"},
                                                                      {"tokens", "tokens", shown::integer},
                                                                      {"tokens_after", "after diverging", shown::integer},
                                                                      {"overlap", "|A and B|/k", shown::percent},
                                                                      {"overlap_min", "lowest layer", shown::percent},
                                                                      {"overlap_chance", "random", shown::percent}},
                {}};
    std::map<block_id, std::pair<block_layout, running_stats>> layers;
    running_stats                                              all;
    const size_t                                               n = o.traces.size();
    for (size_t i = 0; i < (n > all_pairs_most ? 1 : n); ++i) {
        for (size_t j = i + 1; j < n; ++j) {
            const matched_files      m = measure_files(o.traces[i], o.traces[j], o);
            const agreement_result & r = m.result;
            if (!m.why_not.empty()) {
                throw error("comes from another model than the first (" + m.why_not + ")")
                    .in(o.traces[j])
                    .fix("use 'moescope analyze compare'");
            }
            const running_stats mean = overall(r);
            pairs.rows.push_back({o.traces[i], o.traces[j], whole(r.tokens_matched), whole(r.tokens_after), mean.mean(),
                                  mean.min(), r.blocks.empty() ? unknown : r.blocks.front().overlap_by_chance});
            for (const block_agreement & b : r.blocks) {
                auto & [layout, stats] = layers[b.layout.id()];
                layout                 = b.layout;
                if (b.overlap.n() > 0) {
                    stats.add(b.overlap.mean());
                }
            }
            if (mean.n() > 0) {
                all.add(mean.mean());
            }
        }
    }
    table t{"layers",
            "Layers: experts shared per token, over the pairs of runs",
            {layer_column,
             block_column,
             {"pairs", "pairs", shown::integer},
             {"overlap", "mean", shown::percent},
             {"overlap_min", "lowest", shown::percent},
             {"overlap_max", "highest", shown::percent},
             {"overlap_chance", "random", shown::percent}},
            {}};
    for (const auto & [key, value] : layers) {
        const auto & [layout, stats] = value;
        t.rows.push_back({layer_cell(layout), block_cell(layout), whole(stats.n()), stats.mean(), stats.min(),
                          stats.max(), double(layout.n_expert_used) / layout.n_expert});
    }
    a.figures = {{"runs", whole(n)}, {"overlap", all.mean()}, {"overlap_min", all.min()}};
    a.headline.push_back(
        all.n() == 0 ? "The runs have no token in common whose position both know, so there is nothing to compare."
                     : fmt::format("The runs share {:.2f} % of a token's experts (lowest pair: {:.2f} %), over {}.",
                                   100 * all.mean(), 100 * all.min(), counted(all.n(), "pair")));
    a.tables = {t, pairs};
    if (n > all_pairs_most) {
        a.notes.push_back("with so many runs, each was compared only with the first");
    }
    return a;
}

}  // namespace

void add_stability(CLI::App & analyze) {
    CLI::App * kind = add_analysis(analyze, "stability", "whether several runs of the same tokens route alike", 2, 0,
                                   answer_stability);
    add_examples(*kind,
                 {{"moescope analyze stability one.moetrace two.moetrace three.moetrace", "three runs of one prompt"}});
}

}  // namespace moescope::cli
