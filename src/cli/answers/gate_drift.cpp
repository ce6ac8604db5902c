// moescope analyze gate-drift: how the router's input changes from layer to layer.

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/gate_drift.hpp"
#include "cli/answers/shared.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

struct named_measure {
    drift_measure measure;
    const char *  key;
    const char *  title;
};
constexpr named_measure measures[] = {
    {drift_measure::cosine, "cosine", "cosine"},
    {drift_measure::cosine_distance, "cosine_distance", "1 - cosine"},
    {drift_measure::euclidean, "euclidean", "Euclidean"},
    {drift_measure::l2_normalised, "l2_normalised", "L2-normalised"},
    {drift_measure::pearson, "pearson", "Pearson"},
    {drift_measure::mean_abs, "mean_abs_difference", "mean |diff|"},
};

const std::vector<table_column> summary_columns = {{"n", "n", shown::integer},  {"mean", "mean", shown::real},
                                                   {"sd", "sd", shown::real},   {"min", "min", shown::real},
                                                   {"max", "max", shown::real}, {"median", "median", shown::real}};

void add_summary(std::vector<cell> & row, const drift_summary & s) {
    row.insert(row.end(), {whole(s.n), s.mean, s.sd, s.min, s.max, s.median});
}

table total_table(const gate_drift_result & r) {
    table t{"total", "All layer pairs and tokens together", {{"measure", "measure"}}, {}};
    t.columns.insert(t.columns.end(), summary_columns.begin(), summary_columns.end());
    for (const named_measure & m : measures) {
        std::vector<cell> row = {std::string(m.key)};
        add_summary(row, summarise(r.all(m.measure)));
        t.rows.push_back(std::move(row));
    }
    return t;
}

// One line per pair for people: the mean of each measure.
table pairs_table(const gate_drift_result & r) {
    table t{"pairs",
            "Between consecutive captured layers: means over tokens",
            {{"from_layer", "from", shown::integer}, {"to_layer", "to", shown::integer}, {"n", "n", shown::integer}},
            {}};
    for (const named_measure & m : measures) {
        t.columns.push_back({m.key, m.title, shown::real});
    }
    t.columns.push_back({"cosine_sd", "sd of cosine", shown::real});
    for (const drift_pair & p : r.pairs) {
        std::vector<cell> row = {int64_t{p.from_layer}, int64_t{p.to_layer}, whole(p.step.size())};
        for (const named_measure & m : measures) {
            row.push_back(summarise(p.values[static_cast<size_t>(m.measure)]).mean);
        }
        row.push_back(summarise(p.values[static_cast<size_t>(drift_measure::cosine)]).sd);
        t.rows.push_back(std::move(row));
    }
    return t;
}

table summaries_table(const gate_drift_result & r) {
    table t{"pair_measures",
            "",
            {{"from_layer", "from", shown::integer}, {"to_layer", "to", shown::integer}, {"measure", "measure"}},
            {},
            0};
    t.columns.insert(t.columns.end(), summary_columns.begin(), summary_columns.end());
    for (const drift_pair & p : r.pairs) {
        for (const named_measure & m : measures) {
            std::vector<cell> row = {int64_t{p.from_layer}, int64_t{p.to_layer}, std::string(m.key)};
            add_summary(row, summarise(p.values[static_cast<size_t>(m.measure)]));
            t.rows.push_back(std::move(row));
        }
    }
    return t;
}

table steps_table(const gate_drift_result & r, const trace::trace_source & source, size_t top) {
    table t{"steps",
            "Token by token: means over the layer pairs",
            {{"step", "step", shown::integer},
             {"batch", "batch", shown::integer},
             {"seq", "", shown::integer},
             {"pos", "pos", shown::integer},
             {"token", "token", shown::integer},
             {"text", "text"}},
            {},
            top};
    for (const named_measure & m : measures) {
        t.columns.push_back({m.key, m.title, shown::real});
    }
    for (size_t i = 0; i < r.steps.size(); ++i) {
        const drift_step &  s    = r.steps[i];
        const std::string * text = source.piece(s.token);
        std::vector<cell>   row  = {whole(i),       whole(s.batch),   int64_t{s.seq},
                                    int64_t{s.pos}, int64_t{s.token}, text != nullptr ? *text : std::string()};
        for (const named_measure & m : measures) {
            row.push_back(s.mean[static_cast<size_t>(m.measure)]);
        }
        t.rows.push_back(std::move(row));
    }
    return t;
}

table values_table(const gate_drift_result & r) {
    table t{
        "values",
        "",
        {{"step", "step", shown::integer}, {"from_layer", "from", shown::integer}, {"to_layer", "to", shown::integer}},
        {},
        0};
    for (const named_measure & m : measures) {
        t.columns.push_back({m.key, m.title, shown::real});
    }
    for (const drift_pair & p : r.pairs) {
        for (size_t i = 0; i < p.step.size(); ++i) {
            std::vector<cell> row = {whole(p.step[i]), int64_t{p.from_layer}, int64_t{p.to_layer}};
            for (const named_measure & m : measures) {
                row.push_back(double(p.values[static_cast<size_t>(m.measure)][i]));
            }
            t.rows.push_back(std::move(row));
        }
    }
    return t;
}

struct gate_drift_options {
    bool all_rows = false;  // not decoded tokens alone
    bool values   = false;  // a table of every token and layer pair
};

answer answer_gate_drift(const analyze_options & o, const gate_drift_options & g) {
    const auto source = open_trace(o, o.traces.front());
    require_column(*source, column::gate_input);
    gate_drift drift(g.all_rows || o.phase == "prefill");
    feed(*source, o, {&drift});
    const gate_drift_result & r = drift.result();
    answer                    a;
    a.kind             = "gate-drift";
    a.notes            = source_notes(*source);
    a.figures          = {{"tokens", whole(r.steps.size())},
                          {"pairs", whole(r.pairs.size())},
                          {"rows_without_partner", whole(r.rows_without_partner)}};
    const char * which = g.all_rows ? "token" : o.phase == "prefill" ? "prefilled token" : "decoded token";
    if (r.steps.empty()) {
        a.headline.push_back(fmt::format("No {} in this trace{}.", which, g.all_rows ? "" : ": --all takes every row"));
        return a;
    }
    if (r.pairs.empty()) {
        a.headline.push_back("Only one layer's gate input was captured: drift needs two.");
        return a;
    }
    const drift_summary cosine = summarise(r.all(drift_measure::cosine));
    a.headline.push_back(
        fmt::format("The gate inputs of consecutive layers have a cosine similarity of {:.4f} on average "
                    "({:.4f} to {:.4f}), over {} {}{} and {} layer pair{}.",
                    cosine.mean, cosine.min, cosine.max, with_commas(r.steps.size()), which,
                    r.steps.size() == 1 ? "" : "s", r.pairs.size(), r.pairs.size() == 1 ? "" : "s"));
    a.tables = {total_table(r), pairs_table(r), steps_table(r, *source, o.top), summaries_table(r)};
    if (g.values) {
        a.tables.push_back(values_table(r));
    }
    return a;
}

}  // namespace

void add_gate_drift(CLI::App & analyze) {
    auto g    = std::make_shared<gate_drift_options>();
    auto kind = add_analysis(analyze, "gate-drift", "how the router's input changes from layer to layer", 1, 1,
                             [=](const analyze_options & o) { return answer_gate_drift(o, *g); });
    kind->add_flag("--all", g->all_rows, "all rows, not only decoded tokens");
    kind->add_flag("--values", g->values, "add a table 'values' of every token and layer pair");
    add_examples(*kind, {{"moescope analyze gate-drift run.moetrace", "needs a trace of --capture gate-input"}});
}

}  // namespace moescope::cli
