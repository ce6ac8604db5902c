// moescope analyze temporal: how long a sequence stays with its experts.

#include <numeric>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/temporal.hpp"
#include "cli/answers/shared.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

table layers_table(const temporal_result & r) {
    table t{"layers",
            "Overlap |A and B| / k of two tokens of a sequence, by their distance in tokens",
            {layer_column,
             block_column,
             {"neighbours", "pairs", shown::integer},
             {"overlap_1", "1", shown::percent},
             {"overlap_1_low", "from", shown::percent},
             {"overlap_1_high", "to (95 %)", shown::percent},
             {"by_popularity", "any two", shown::percent},
             {"by_chance", "k/E", shown::percent}},
            {}};
    for (size_t l = 1; l < overlap_lags.size(); ++l) {
        t.columns.push_back(
            {fmt::format("overlap_{}", overlap_lags[l]), std::to_string(overlap_lags[l]), shown::percent});
    }
    for (const block_temporal & b : r.blocks) {
        const running_stats & next = b.overlap[0];
        const double          half = 1.96 * next.sd() / std::sqrt(double(next.n()));
        std::vector<cell>     row  = {
                 layer_cell(b.layout), block_cell(b.layout), whole(next.n()),         next.mean(),
                 next.mean() - half,   next.mean() + half,   b.overlap_by_popularity, b.overlap_by_chance};
        for (size_t l = 1; l < overlap_lags.size(); ++l) {
            row.push_back(b.overlap[l].mean());
        }
        t.rows.push_back(std::move(row));
    }
    return t;
}

std::string class_name(size_t c) {
    if (c == n_reuse_classes - 1) {
        return "first use";
    }
    if (c == n_reuse_classes - 2) {
        return fmt::format("over {}", reuse_class_end.back());
    }
    const uint32_t from = c == 0 ? 1 : reuse_class_end[c - 1] + 1;
    return from == reuse_class_end[c] ? std::to_string(from) : fmt::format("{} to {}", from, reuse_class_end[c]);
}

table reuse_table(const temporal_result & r) {
    table                                   t{"reuse",
            "Tokens since the sequence last used an expert, over all layers; random: balanced routing",
            {{"distance", "tokens ago"},
                                               {"selections", "selections", shown::integer},
                                               {"share", "of reuses", shown::percent},
                                               {"share_chance", "random", shown::percent}},
            {}};
    std::array<uint64_t, n_reuse_classes>   sum    = {};
    std::array<double, n_reuse_classes - 1> chance = {};
    double                                  reuses = 0;
    for (const block_temporal & b : r.blocks) {
        const double here = double(std::accumulate(b.reuse.begin(), b.reuse.end() - 1, uint64_t{0}));
        for (size_t c = 0; c < n_reuse_classes; ++c) {
            sum[c] += b.reuse[c];
            if (c + 1 < n_reuse_classes) {
                chance[c] += here * b.reuse_by_chance[c];
            }
        }
        reuses += here;
    }
    for (size_t c = 0; c < n_reuse_classes; ++c) {
        const bool first = c == n_reuse_classes - 1;
        t.rows.push_back({class_name(c), whole(sum[c]), first || reuses == 0 ? unknown : double(sum[c]) / reuses,
                          first || reuses == 0 ? unknown : chance[c] / reuses});
    }
    return t;
}

answer answer_temporal(const analyze_options & o) {
    temporal x;
    answer   a;
    read_rows(o, "temporal", x, a);
    const temporal_result r       = x.result();
    double                overlap = 0, popular = 0, chance = 0, rows = 0;
    for (const block_temporal & b : r.blocks) {
        const double n = double(b.overlap[0].n());
        overlap += n > 0 ? n * b.overlap[0].mean() : 0;
        popular += n > 0 ? n * b.overlap_by_popularity : 0;
        chance += n * b.overlap_by_chance;
        rows += n;
    }
    a.figures = {{"sequences", whole(r.sequences)},
                 {"rows_unknown", whole(r.rows_unknown)},
                 {"overlap", overlap / rows},
                 {"overlap_by_popularity", popular / rows},
                 {"overlap_by_chance", chance / rows}};
    if (r.rows_unknown > 0) {
        a.notes.push_back(counted(r.rows_unknown, "row") +
                          " left out: their sequences are unknown, and tokens of different sequences "
                          "must not count as neighbours");
    }
    if (rows == 0) {
        a.headline.push_back(r.blocks.empty() ? nothing_selected
                                              : "This trace has no two neighbouring tokens of one sequence.");
        return a;
    }
    a.headline.push_back(
        fmt::format("A token shares {:.1f} % of its experts with the previous token; any two tokens of the "
                    "trace share {:.1f} %, and balanced random routing gives {:.1f} %.",
                    100 * overlap / rows, 100 * popular / rows, 100 * chance / rows));
    a.tables = {layers_table(r), reuse_table(r)};
    return a;
}

}  // namespace

void add_temporal(CLI::App & analyze) {
    CLI::App * kind =
        add_analysis(analyze, "temporal", "how long a sequence stays with its experts", 1, 1, answer_temporal);
    add_examples(*kind, {{"moescope analyze temporal run.moetrace", "how soon a sequence changes its experts"}});
}

}  // namespace moescope::cli
