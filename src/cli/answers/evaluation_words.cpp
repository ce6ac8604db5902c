#include "cli/answers/evaluation_words.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

using evaluate::damage;
using evaluate::damage_sums;
using evaluate::estimate;
using evaluate::plan_kind;

constexpr uint64_t few_samples = 30;  // below, bootstrap intervals are too narrow more often than they say

std::vector<damage_sums> units_of_label(const evaluate::evaluation & e, size_t plan, size_t label) {
    std::vector<damage_sums> units;
    for (size_t u = 0; u < e.unit_label.size(); ++u) {
        if (e.unit_label[u] == label && e.sums[plan][u].tokens > 0) {
            units.push_back(e.sums[plan][u]);
        }
    }
    return units;
}

// Units without predictions tell nothing, and would count as drawn.
std::vector<damage_sums> with_predictions(const std::vector<damage_sums> & units) {
    std::vector<damage_sums> some;
    std::copy_if(units.begin(), units.end(), std::back_inserter(some), [](const auto & u) { return u.tokens > 0; });
    return some;
}

std::string number(double x) {
    const double size = std::fabs(x);
    return size == 0 ? "0" : size < 0.001 ? fmt::format("{:.1e}", x) : fmt::format("{:.{}f}", x, size < 0.1 ? 4 : 3);
}

// "0.164 (0.151 to 0.180)"
std::string with_range(const estimate & e) {
    return std::isnan(e.range.low)
               ? number(e.value)
               : fmt::format("{} ({} to {})", number(e.value), number(e.range.low), number(e.range.high));
}

std::string percent_of(double share) {
    return fmt::format("{:.1f} %", 100 * share);
}

bool no_difference(const damage & d) {
    return d.kl.value == 0 && d.delta_nll.value == 0;
}

std::string one_plan(const evaluate::evaluation & e, const plan_results & results, size_t p) {
    const damage & d = results.of(p);
    if (no_difference(d)) {
        return fmt::format("{}: no difference. The predictions of all {} tokens are the same.",
                           printable(e.plans[p].name), with_commas(d.tokens));
    }
    std::string text = fmt::format(
        "{}: predictions move by KL {} nats per token, and the text costs {:.3f} bits per token instead of {:.3f}. "
        "The likeliest token stays the same for {} of the tokens.",
        printable(e.plans[p].name), with_range(d.kl), d.bits_changed.value, d.bits_full.value,
        percent_of(d.same_top.value));
    if (e.labels.size() > 1) {
        const size_t worst = results.worst_label(p);
        text += fmt::format(" It hurts {} most (KL {}).",
                            e.labels[worst].empty() ? "what has no label" : printable(e.labels[worst]),
                            with_range(results.of_label(p, worst).kl));
    }
    return text;
}

// Of the plans that keep as many experts, the one with the least damage.
std::vector<std::string> sweep_lines(const evaluate::evaluation & e, const plan_results & results) {
    std::map<int32_t, std::vector<size_t>, std::greater<>> by_keep;
    for (const size_t p : results.by_damage(plan_kind::criterion)) {
        by_keep[e.plans[p].n_keep].push_back(p);  // the largest KL first
    }
    std::vector<std::string> lines;
    for (const auto & [keep, plans] : by_keep) {
        const size_t best = plans.back();
        std::string line = fmt::format("{} of {} experts kept: {} does the least damage, KL {}", keep, e.model.n_expert,
                                       e.plans[best].criterion, with_range(results.of(best).kl));
        if (plans.size() > 1) {
            const size_t next = plans[plans.size() - 2];
            line += fmt::format("; {} follows with {}", e.plans[next].criterion, with_range(results.of(next).kl));
        }
        lines.push_back(line + ".");
    }
    return lines;
}

std::vector<std::string> each_lines(const evaluate::evaluation & e, const plan_results & results) {
    const std::vector<size_t> order = results.by_damage(plan_kind::expert);
    if (order.empty()) {
        return {};
    }
    double       total = 0, held = 0;
    const size_t worst = order.front();
    for (const size_t p : order) {
        total += results.of(p).kl.value;
    }
    size_t n_half = 0, n_none = 0;
    while (n_half < order.size() && held < total / 2) {
        held += results.of(order[n_half++]).kl.value;
    }
    for (const size_t p : order) {
        n_none += no_difference(results.of(p)) ? 1 : 0;
    }
    return {
        fmt::format("Expert {} of layer {} is missed most: without it alone, predictions move by KL {} nats per token.",
                    e.plans[worst].expert, e.plans[worst].layer, with_range(results.of(worst).kl)),
        fmt::format("{} of {} experts do half of all the damage{}.", n_half, order.size(),
                    n_none > 0 ? fmt::format("; without {} of them alone nothing changes on this text", n_none) : "")};
}

}  // namespace

plan_results::plan_results(const evaluate::evaluation & e) : evaluation_(e) {
    for (size_t p = 0; p < e.plans.size(); ++p) {
        all_.push_back(evaluate::summarize(with_predictions(e.sums[p])));
        by_label_.emplace_back();
        for (size_t l = 0; l < e.labels.size(); ++l) {
            by_label_[p].push_back(e.labels.size() == 1 ? all_[p] : evaluate::summarize(units_of_label(e, p, l)));
        }
    }
    samples_ = std::accumulate(e.label_samples.begin(), e.label_samples.end(), uint64_t{0});
}

size_t plan_results::worst_label(size_t plan) const {
    const std::vector<damage> & labels = by_label_[plan];
    size_t                      worst  = 0;
    for (size_t l = 1; l < labels.size(); ++l) {
        // A label without predictions (all its samples are shorter than --skip) has no figure.
        if (labels[worst].tokens == 0 || labels[l].kl.value > labels[worst].kl.value) {
            worst = l;
        }
    }
    return worst;
}

std::vector<size_t> plan_results::by_damage(plan_kind kind) const {
    std::vector<size_t> plans;
    for (size_t p = 0; p < all_.size(); ++p) {
        if (evaluation_.plans[p].kind == kind) {
            plans.push_back(p);
        }
    }
    std::stable_sort(plans.begin(), plans.end(),
                     [&](size_t a, size_t b) { return all_[a].kl.value > all_[b].kl.value; });
    return plans;
}

std::vector<std::string> evaluation_headline(const evaluate::evaluation & e, const plan_results & results) {
    std::vector<std::string> lines = sweep_lines(e, results);
    const bool               one   = e.plans.size() == 1;
    for (size_t p = 0; p < e.plans.size(); ++p) {
        const plan_kind kind = e.plans[p].kind;
        if (one || (kind != plan_kind::criterion && kind != plan_kind::expert)) {
            lines.push_back(one_plan(e, results, p));
        }
    }
    if (!one) {
        const auto each = each_lines(e, results);
        lines.insert(lines.end(), each.begin(), each.end());
    } else {
        lines.erase(lines.begin(), lines.end() - 1);
    }
    return lines;
}

std::vector<std::string> evaluation_notes(const evaluate::evaluation & e, const plan_results & results) {
    std::vector<std::string> notes;
    const uint64_t           computed = e.samples + e.failed.size();
    if (!e.complete) {
        notes.push_back(fmt::format("not finished: {} of {} samples are in these figures; --resume goes on",
                                    with_commas(e.samples), with_commas(e.corpus_samples)));
    } else if (e.shards.size() < e.n_shards) {
        notes.push_back(
            fmt::format("{} of {} shards: add up the .moeval files with moescope merge", e.shards.size(), e.n_shards));
    } else if (computed < e.corpus_samples) {
        notes.push_back(fmt::format("{} no longer than one token, left out: nothing to predict",
                                    counted(e.corpus_samples - computed, "sample")));
    }
    if (results.samples() < e.samples) {
        notes.push_back(fmt::format("{} no longer than what is skipped, so nothing is predicted there",
                                    counted(e.samples - results.samples(), "sample")));
    }
    if (e.truncated > 0) {
        notes.push_back(fmt::format("{} cut to the context; -c gives it more", counted(e.truncated, "sample")));
    }
    if (!e.failed.empty()) {
        notes.push_back(fmt::format("{} did not decode and left out", counted(e.failed.size(), "sample")));
    }
    if (results.samples() < few_samples) {
        notes.push_back(fmt::format("intervals are over samples, and {} are few: they are too narrow",
                                    counted(results.samples(), "sample")));
    }
    return notes;
}

}  // namespace moescope::cli
