#include "cli/answers/prune_losses.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "analysis/findings.hpp"
#include "cli/terminal/text.hpp"
#include "prune/profile_scores.hpp"

namespace moescope::cli {

namespace {

constexpr size_t most_labels = 6;  // that a table shows

std::string share_text(double share) {
    return fmt::format("{:.1f} %", 100 * share);
}

bool was_on(const std::vector<float> & biases, size_t expert) {
    return biases.empty() || biases[expert] != expert_mask::omitted;
}

// What random experts would take. Those that were masked while the profile was made have no selections to lose.
double share_by_chance(const prune::prune_plan & plan, const expert_mask & mask) {
    double sum = 0;
    for (const auto & [il, layer] : plan.layers) {
        const std::vector<float> biases = mask.biases(il, plan.shape.n_expert);
        double                   on = 0, stay = 0;
        for (uint32_t e = 0; e < plan.shape.n_expert; ++e) {
            on += was_on(biases, e) ? 1 : 0;
        }
        for (const int32_t e : layer.kept) {
            stay += was_on(biases, static_cast<size_t>(e)) ? 1 : 0;
        }
        sum += 1 - stay / on;
    }
    return sum / double(plan.layers.size());
}

// Which of the shares a table shows: all rows, then the labels that lose most, in their order.
std::vector<size_t> shown_labels(const std::vector<prune::displaced_share> & displaced) {
    std::vector<size_t> shown;
    for (size_t i = 1; i < displaced.size(); ++i) {
        shown.push_back(i);
    }
    std::stable_sort(shown.begin(), shown.end(),
                     [&](size_t a, size_t b) { return displaced[a].share > displaced[b].share; });
    shown.resize(std::min(shown.size(), most_labels));
    std::sort(shown.begin(), shown.end());
    shown.insert(shown.begin(), 0);
    return shown;
}

std::string losses_line(const std::string & name, const std::vector<prune::displaced_share> & displaced,
                        const std::vector<size_t> & shown, const std::vector<size_t> & widths,
                        const std::string & others, const prune::plan_measures & m) {
    std::string line = fmt::format("{:<24}", name);
    for (size_t i = 0; i < shown.size(); ++i) {
        line += fmt::format("  {:>{}}", share_text(displaced[shown[i]].share), widths[i]);
    }
    return line + fmt::format("  {:>11}  {:>13}  {:>14}\n", others, measure_text(m.removal, true),
                              measure_text(m.hope, false));
}

// A label's use of one layer, or that of all rows.
struct layer_use {
    std::string      name;
    uint64_t         rows;
    const uint64_t * count;  // [n_expert]
};

std::vector<layer_use> uses_of(const stats::moestats & profile, const stats::saliency_block & b) {
    std::vector<layer_use> uses;
    if (profile.labels.empty()) {
        uses.push_back({"what was profiled", b.rows, b.count.data()});
    }
    for (size_t l = 0; l < profile.labels.size(); ++l) {
        uses.push_back({printable(profile.labels[l]), b.label_rows[l], &b.label_count[l * b.n_expert]});
    }
    return uses;
}

// Experts that go although a label leans on them.
struct lost_support {
    std::string name;
    double      vs_fair = 0, share = 0;  // of the worst
    int         layer  = 0;
    uint32_t    expert = 0;
    uint32_t    others = 0;
};

void add_lost(std::vector<lost_support> & lost, const layer_use & use, const stats::saliency_block & b,
              const std::vector<int32_t> & kept, double rarely) {
    constexpr double lean = 2;
    const double     fair = double(b.n_expert_used) / double(b.n_expert);
    if (use.rows == 0) {
        return;
    }
    const uint64_t limit = analysis::binomial_limit(use.rows, fair, rarely);
    for (uint32_t e = 0; e < b.n_expert; ++e) {
        const double share = double(use.count[e]) / double(use.rows);
        if (share < lean * fair || use.count[e] < limit ||
            std::binary_search(kept.begin(), kept.end(), static_cast<int32_t>(e))) {
            continue;
        }
        auto of = std::find_if(lost.begin(), lost.end(), [&](auto & l) { return l.name == use.name; });
        if (of == lost.end()) {
            lost.push_back({use.name, share / fair, share, b.layer, e, 0});
            continue;
        }
        const uint32_t others = of->others + 1;
        if (share / fair > of->vs_fair) {
            *of = {use.name, share / fair, share, b.layer, e, others};
        }
        of->others = others;
    }
}

std::vector<lost_support> find_lost(const stats::moestats & profile, const prune::prune_plan & plan) {
    std::vector<lost_support> lost;
    double                    n = 0;  // counts that are looked at
    for (const stats::saliency_block * b : profile.routed()) {
        n += double(b->n_expert) * double(std::max<size_t>(1, profile.labels.size()));
    }
    for (const stats::saliency_block * b : profile.routed()) {
        const auto layer = plan.layers.find(b->layer);
        for (const layer_use & use : uses_of(profile, *b)) {
            if (layer != plan.layers.end()) {
                add_lost(lost, use, *b, layer->second.kept, 0.01 / n);
            }
        }
    }
    return lost;
}

}  // namespace

std::string losses_table(const prune::prune_plan & plan, const plan_review & more) {
    if (more.displaced.empty()) {
        return "";
    }
    const std::vector<size_t> shown = shown_labels(more.displaced);
    std::vector<size_t>       widths;
    std::string               head = fmt::format("{:<24}", "by");
    for (const size_t i : shown) {
        const std::string label = i == 0 ? "all" : printable(more.displaced[i].label);
        widths.push_back(std::max<size_t>(7, label.size()));
        head += fmt::format("  {:>{}}", label, widths.back());
    }
    const bool   labelled = more.displaced.size() > 1;
    const size_t left_out = more.displaced.size() - shown.size();
    std::string  text =
        fmt::format("{}: the share of {}selections whose expert goes (random experts: {}){}\n{}  {:>11}  {:>13}  "
                    "{:>14}\n",
                    labelled ? "what each label loses" : "what is lost", labelled ? "its " : "",
                    share_text(share_by_chance(plan, more.mask)),
                    left_out > 0 ? fmt::format("; {} labels that lose less are in --json", left_out) : "", head,
                    "keeps other", "removal error", "hope objective");
    text += losses_line(more.criterion, more.displaced, shown, widths, "this", more.measures);
    for (const prune::rival_plan & r : more.rivals) {
        text += losses_line(prune::criterion_name(r.criterion), r.displaced, shown, widths, std::to_string(r.n_other),
                            r.measures);
    }
    return text;
}

std::vector<std::string> loss_warnings(const stats::moestats & profile, const prune::prune_plan & plan,
                                       const std::vector<prune::displaced_share> & displaced) {
    std::vector<std::string> warnings;
    const expert_mask        mask   = prune::mask_of(profile);
    const double             chance = share_by_chance(plan, mask);
    if (!mask.empty()) {
        warnings.push_back(
            "the profile was made under a mask: shares are of what the masked model selects, and experts that were off "
            "have none");
    }
    for (size_t i = 1; i < displaced.size(); ++i) {
        if (displaced[i].share > chance) {
            warnings.push_back(fmt::format("{} loses {} of its selections, more than random experts would take ({})",
                                           printable(displaced[i].label), share_text(displaced[i].share),
                                           share_text(chance)));
        }
    }
    for (const lost_support & l : find_lost(profile, plan)) {
        warnings.push_back(fmt::format(
            "{} leans on expert {} of layer {}, which goes: {} of its tokens select it there, {:.1f} times its fair share{}",
            l.name, l.expert, l.layer, share_text(l.share), l.vs_fair,
            l.others > 0 ? fmt::format("; so it does on {} more that go", l.others) : ""));
    }
    return warnings;
}

}  // namespace moescope::cli
