// moescope stats on a profile.

#include "cli/answers/profile_tables.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "analysis/tools/interval.hpp"
#include "cli/answers/profile_files.hpp"
#include "cli/answers/profile_summary.hpp"
#include "cli/answers/shared.hpp"
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

using stats::saliency_block;

bool has_norms(const saliency_block & b) {
    return std::any_of(b.norm.begin(), b.norm.end(), [](double n) { return n > 0; });
}

table profile_layers(const stats::moestats & s) {
    table t{"layers",
            "Layers: how many experts hold half and nine tenths of all g·‖f‖, and the rows of the rarest that was used",
            {layer_column,
             {"rows", "tokens", shown::integer},
             {"n_expert", "experts", shown::integer},
             {"dead", "never used", shown::integer},
             {"hold_50", "hold 50 %", shown::integer},
             {"hold_90", "hold 90 %", shown::integer},
             {"rarest", "rarest rows", shown::integer}},
            {},
            SIZE_MAX};
    for (const saliency_block * b : s.routed()) {
        const layer_weight w = weigh(*b);
        t.rows.push_back({int64_t{b->layer}, whole(b->rows), int64_t{b->n_expert}, int64_t{w.dead},
                          cell_if(has_norms(*b), w.half), cell_if(has_norms(*b), w.most), whole(w.rarest)});
    }
    return t;
}

// All experts, by REAP from the top.
table profile_experts(const stats::moestats & s, size_t top) {
    table t{"experts",
            "Highest REAP",
            {layer_column,
             {"expert", "expert", shown::integer},
             {"count", "rows", shown::integer},
             {"frequency", "of all rows", shown::percent},
             {"reap", "REAP", shown::real},
             {"ean", "mean norm", shown::real},
             {"gate", "mean gate", shown::real}},
            {},
            top};
    for (const saliency_block * b : s.routed()) {
        for (uint32_t e = 0; e < b->n_expert; ++e) {
            t.rows.push_back({int64_t{b->layer}, int64_t{e}, whole(b->count[e]), b->frequency(e), b->reap(e), b->ean(e),
                              b->mean_gate(e)});
        }
    }
    const auto reap = [](const std::vector<cell> & row) { return std::get<double>(row[4]); };
    std::stable_sort(t.rows.begin(), t.rows.end(), [&](const auto & a, const auto & b) { return reap(a) > reap(b); });
    return t;
}

// The expert that a label uses most above the others, by the ends of the 95 % intervals that face each other.
struct label_leaning {
    int32_t  layer  = -1;
    uint32_t expert = 0;
    double   gap = 0, own = NAN, others = NAN;
};

label_leaning find_leaning_of(const stats::moestats & s, size_t label) {
    label_leaning most;
    for (const saliency_block * b : s.routed()) {
        if (b->label_rows.size() != s.labels.size()) {
            continue;
        }
        const uint64_t rows = b->label_rows[label];
        uint64_t       all  = 0;
        for (const uint64_t n : b->label_rows) {
            all += n;
        }
        for (uint32_t e = 0; e < b->n_expert && rows > 0 && all > rows; ++e) {
            uint64_t everywhere = 0;
            for (size_t l = 0; l < s.labels.size(); ++l) {
                everywhere += b->label_count[l * b->n_expert + e];
            }
            const uint64_t n   = b->label_count[label * b->n_expert + e];
            const double   gap = analysis::wilson(n, rows).low - analysis::wilson(everywhere - n, all - rows).high;
            if (gap > most.gap) {
                most = {b->layer, e, gap, double(n) / double(rows), double(everywhere - n) / double(all - rows)};
            }
        }
    }
    return most;
}

table profile_labels(const stats::moestats & s) {
    table      t{"labels",
            "Labels, and the expert that each uses most above the others",
            {{"label", "label"},
                  {"rows", "tokens", shown::integer},
                  {"layer", "layer", shown::integer},
                  {"expert", "expert", shown::integer},
                  {"frequency", "of its rows", shown::percent},
                  {"frequency_others", "of the others'", shown::percent}},
            {},
            SIZE_MAX};
    const auto routed = s.routed();
    for (size_t l = 0; l < s.labels.size() && !routed.empty(); ++l) {
        uint64_t rows = 0;  // of the layer that has most: the last one may compute fewer
        for (const saliency_block * b : routed) {
            rows = std::max(rows, l < b->label_rows.size() ? b->label_rows[l] : 0);
        }
        const label_leaning most  = find_leaning_of(s, l);
        const bool          known = most.layer >= 0;
        t.rows.push_back({s.labels[l], whole(rows), cell_if(known, static_cast<uint64_t>(std::max(0, most.layer))),
                          cell_if(known, most.expert), most.own, most.others});
    }
    return t;
}

}  // namespace

answer answer_profile(const std::string & path, size_t top) {
    const stats::moestats s = read_profile(path);
    answer                a;
    a.kind        = "profile";
    uint64_t dead = 0, experts = 0, tokens = s.tokens();
    for (const saliency_block * b : s.routed()) {
        dead += weigh(*b).dead;
        experts += b->n_expert;
        tokens = std::max(tokens, b->rows);
    }
    a.figures = {{"samples", whole(s.samples())}, {"tokens", whole(tokens)},
                 {"n_experts", whole(experts)},   {"dead", whole(dead)},
                 {"model", s.model.name},         {"architecture", s.model.architecture},
                 {"gate", to_string(s.gate)},     {"complete", int64_t{s.complete()}}};
    if (!s.routed().empty()) {
        a.headline.push_back(corpus_verdict(s));
    }
    a.headline.push_back(fmt::format("{} of {} experts were never selected, in {} and {}.", with_commas(dead),
                                     with_commas(experts), counted(tokens, "token"),
                                     counted(s.routed().size(), "MoE layer")));
    a.tables = {profile_layers(s)};
    if (!s.labels.empty()) {
        a.tables.push_back(profile_labels(s));
    }
    a.tables.push_back(profile_experts(s, top));
    if (!s.corpora.empty() && !s.complete()) {
        a.notes.push_back("the profile is not finished: it covers only part of its corpus");
    }
    return a;
}

}  // namespace moescope::cli
