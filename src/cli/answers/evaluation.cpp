// moescope evaluate: what a change costs, in words and tables.

#include "cli/answers/evaluation.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "cli/answers/evaluation_words.hpp"
#include "cli/answers/shared.hpp"
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

using evaluate::damage;
using evaluate::estimate;
using evaluate::plan_kind;

// Three columns: a figure and its interval. Bounds are shown where `bounds` says so.
void add_columns(std::vector<table_column> & columns, const std::string & key, const std::string & title, shown as,
                 bool bounds) {
    columns.push_back({key, title, as});
    columns.push_back({key + "_low", bounds ? "from" : "", as});
    columns.push_back({key + "_high", bounds ? "to (95 %)" : "", as});
}

void add_cells(std::vector<cell> & row, const estimate & e) {
    row.insert(row.end(), {e.value, e.range.low, e.range.high});
}

void add_damage_columns(std::vector<table_column> & columns) {
    columns.push_back({"samples", "", shown::integer});
    columns.push_back({"tokens", "tokens", shown::integer});
    add_columns(columns, "kl", "KL", shown::real, true);
    add_columns(columns, "delta_nll", "more NLL", shown::real, false);
    add_columns(columns, "bits_before", "bits", shown::real, false);
    add_columns(columns, "bits_after", "after", shown::real, false);
    add_columns(columns, "same_top", "same top", shown::percent, false);
    add_columns(columns, "displaced", "displaced", shown::percent, false);
    columns.push_back({"displaced_by_chance", "random", shown::percent});
    add_columns(columns, "top5", "", shown::percent, false);
}

void add_damage_cells(std::vector<cell> & row, const damage & d, uint64_t samples, const evaluate::plan & p) {
    row.push_back(whole(samples));
    row.push_back(whole(d.tokens));
    add_cells(row, d.kl);
    add_cells(row, d.delta_nll);
    add_cells(row, d.bits_full);
    add_cells(row, d.bits_changed);
    add_cells(row, d.same_top);
    add_cells(row, d.displaced);
    row.push_back(p.kind == plan_kind::against ? analysis::unknown : p.omitted_share);
    add_cells(row, d.top5);
}

std::vector<table_column> plan_columns(bool by_label) {
    std::vector<table_column> columns = {
        {"plan", "plan"}, {"kind", ""}, {"criterion", ""}, {"keep", "", shown::integer}, {"mask", ""}};
    if (by_label) {
        columns.push_back({"label", "label"});
    }
    add_damage_columns(columns);
    return columns;
}

std::vector<cell> plan_cells(const evaluate::plan & p) {
    return {p.name, std::string(to_string(p.kind)), p.criterion.empty() ? cell() : cell(p.criterion),
            p.n_keep < 0 ? cell() : cell(int64_t{p.n_keep}), p.mask.to_text()};
}

std::vector<table_column> expert_columns(bool by_label) {
    std::vector<table_column> columns = {layer_column, {"expert", "expert", shown::integer}};
    if (by_label) {
        columns.push_back({"label", "label"});
    }
    add_damage_columns(columns);
    return columns;
}

std::vector<cell> expert_cells(const evaluate::plan & p) {
    return {int64_t{p.layer}, int64_t{p.expert}};
}

// One row for each plan that `is_expert` chooses, or for each of its labels.
table damage_table(const evaluate::evaluation & e, const plan_results & results, bool experts, bool by_label) {
    table t;
    t.key     = std::string(experts ? "expert" : "plan") + (by_label ? "_labels" : "s");
    t.columns = experts ? expert_columns(by_label) : plan_columns(by_label);
    for (size_t p = 0; p < e.plans.size(); ++p) {
        const evaluate::plan & plan = e.plans[p];
        if ((plan.kind == plan_kind::expert) != experts) {
            continue;
        }
        for (size_t l = 0; l < (by_label ? e.labels.size() : 1); ++l) {
            std::vector<cell> row = experts ? expert_cells(plan) : plan_cells(plan);
            if (by_label) {
                row.emplace_back(e.labels[l]);
            }
            add_damage_cells(row, by_label ? results.of_label(p, l) : results.of(p),
                             by_label ? e.label_samples[l] : results.samples(), plan);
            t.rows.push_back(std::move(row));
        }
    }
    return t;
}

// The experts whose absence does the most damage.
table worst_table(const evaluate::evaluation & e, const plan_results & results, size_t top) {
    table t{"most_damage",
            "The experts that are missed most, each left out alone: KL in nats per token",
            {layer_column,
             {"expert", "expert", shown::integer},
             {"kl", "KL", shown::real},
             {"kl_low", "from", shown::real},
             {"kl_high", "to (95 %)", shown::real},
             {"delta_nll", "more NLL", shown::real},
             {"same_top", "same top", shown::percent},
             {"displaced", "displaced", shown::percent},
             {"worst_label", e.labels.size() > 1 ? "most in" : ""},
             {"worst_label_kl", e.labels.size() > 1 ? "KL there" : "", shown::real}},
            {}};
    for (const size_t p : results.by_damage(plan_kind::expert)) {
        const damage &    d     = results.of(p);
        const size_t      worst = results.worst_label(p);
        std::vector<cell> row   = expert_cells(e.plans[p]);
        add_cells(row, d.kl);
        row.insert(row.end(), {d.delta_nll.value, d.same_top.value, d.displaced.value, e.labels[worst],
                               results.of_label(p, worst).kl.value});
        t.rows.push_back(std::move(row));
    }
    t.n_shown = top;
    return t;
}

void add_figures(answer & a, const evaluate::evaluation & e, const plan_results & results) {
    const damage & first = results.of(0);
    a.figures            = {{"version", int64_t{1}},
                            {"model", e.model.file},
                            {"architecture", e.model.architecture},
                            {"n_layer", int64_t{e.model.n_layer}},
                            {"n_expert", int64_t{e.model.n_expert}},
                            {"n_expert_used", int64_t{e.model.n_expert_used}},
                            {"corpus", e.corpus},
                            {"corpus_samples", whole(e.corpus_samples)},
                            {"samples", whole(results.samples())},
                            {"tokens", whole(first.tokens)},
                            {"plans_measured", whole(e.plans.size())},
                            {"complete", int64_t{e.complete && e.shards.size() == e.n_shards ? 1 : 0}},
                            {"bits_before", first.bits_full.value},
                            {"bits_before_low", first.bits_full.range.low},
                            {"bits_before_high", first.bits_full.range.high}};
}

void add_tables(answer & a, const evaluate::evaluation & e, const plan_results & results, size_t top) {
    const bool has_labels = e.labels.size() > 1;
    const auto n_experts  = static_cast<size_t>(
        std::count_if(e.plans.begin(), e.plans.end(), [](const auto & p) { return p.kind == plan_kind::expert; }));
    const bool has_experts = n_experts > 0, has_plans = n_experts < e.plans.size();
    if (has_plans) {
        a.tables.push_back(damage_table(e, results, false, false));
        a.tables.back().title = "The whole text: KL and NLL in nats per token";
    }
    if (has_plans && has_labels) {
        a.tables.push_back(damage_table(e, results, false, true));
        a.tables.back().title = "By label";
    }
    if (has_experts) {
        a.tables.push_back(worst_table(e, results, top));
        a.tables.push_back(damage_table(e, results, true, false));
        a.tables.back().n_shown = 0;
    }
    if (has_experts && has_labels) {
        a.tables.push_back(damage_table(e, results, true, true));
        a.tables.back().n_shown = 0;
    }
}

}  // namespace

answer answer_evaluation(const evaluate::evaluation & e, size_t top) {
    const plan_results results(e);
    answer             a;
    a.kind     = "evaluate";
    a.headline = evaluation_headline(e, results);
    a.notes    = evaluation_notes(e, results);
    add_figures(a, e, results);
    add_tables(a, e, results, top);
    return a;
}

}  // namespace moescope::cli
