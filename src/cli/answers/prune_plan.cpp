#include "cli/answers/prune_plan.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/answers/prune_losses.hpp"
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

std::string percent(double part, double whole) {
    return whole > 0 ? fmt::format("{:.1f} %", 100 * part / whole) : "–";
}

std::string removed_ids(const prune::layer_plan & layer, uint32_t n_expert) {
    std::string text;
    for (int32_t id = 0, at = 0; id < static_cast<int32_t>(n_expert); ++id) {
        if (at < static_cast<int32_t>(layer.kept.size()) && layer.kept[static_cast<size_t>(at)] == id) {
            ++at;
        } else {
            text += (text.empty() ? "" : " ") + std::to_string(id);
        }
    }
    return text.empty() ? "none" : text;
}

std::string layer_table(const prune::prune_plan & plan, const plan_review & more) {
    const uint32_t n_gone = plan.shape.n_expert - plan.n_keep;
    std::string text = fmt::format("{:>5} {:>6} {:>6} {:>12} {:>12}  {:>9}  {}\n", "layer", "keeps", "drops", "before",
                                   "after", "displaced", "dropped experts");
    for (const auto & [il, layer] : plan.layers) {
        const auto displaced = more.displaced_by_layer.find(il);
        text += fmt::format("{:>5} {:>6} {:>6} {:>12} {:>12}  {:>9}  {}{}\n", il, layer.kept.size(), n_gone,
                            human_bytes(layer.bytes_before), human_bytes(layer.bytes_after),
                            displaced == more.displaced_by_layer.end() ? "–" : percent(displaced->second, 1),
                            removed_ids(layer, plan.shape.n_expert), layer.is_mtp ? " (MTP)" : "");
    }
    return text;
}

// The answer in a line.
std::string plan_line(const prune::prune_plan & plan, const plan_review & more) {
    return fmt::format("By {}, {} of {} experts stay in each of {} layers: {} instead of {} ({}).\n", more.criterion,
                       plan.n_keep, plan.shape.n_expert, plan.layers.size(), human_bytes(plan.bytes_after),
                       human_bytes(plan.bytes_before), percent(double(plan.bytes_after), double(plan.bytes_before)));
}

nlohmann::ordered_json measures_json(const prune::plan_measures & m) {
    nlohmann::ordered_json j = nlohmann::ordered_json::object();
    if (m.removal >= 0) {
        j["removal_share"] = m.removal;
    }
    if (m.hope >= 0) {
        j["hope_objective"] = m.hope;
    }
    return j;
}

nlohmann::ordered_json displaced_json(const std::vector<prune::displaced_share> & displaced) {
    nlohmann::ordered_json j = nlohmann::ordered_json::object();
    for (size_t i = 1; i < displaced.size(); ++i) {
        j[displaced[i].label] = displaced[i].share;
    }
    return j;
}

// The label that loses most.
std::string worst_text(const std::vector<prune::displaced_share> & displaced) {
    if (displaced.size() < 2) {
        return "";
    }
    const auto worst = std::max_element(displaced.begin() + 1, displaced.end(),
                                        [](const auto & a, const auto & b) { return a.share < b.share; });
    return fmt::format("{} ({})", percent(worst->share, 1), printable(worst->label));
}

std::string estimate_text(const evaluate::estimate & e) {
    return fmt::format("{:.3f} [{:.3f}, {:.3f}]", e.value, e.range.low, e.range.high);
}

std::string costs_text(const std::vector<swept_plan> & swept, const sweep_review & more) {
    std::string text = fmt::format("\nwhat they cost, in nats per token [95 %]\n{:>6}  {:>22}  {:>22}  {}\n", "keeps",
                                   "increase of NLL", "KL", "most increased label");
    for (const swept_plan & s : swept) {
        text += fmt::format("{:>6}  {:>22}  {:>22}  {}\n", s.plan.n_keep, estimate_text(s.cost->delta_nll),
                            estimate_text(s.cost->kl),
                            s.cost->worst_label.empty()
                                ? ""
                                : fmt::format("{:.3f} ({})", s.cost->worst_nll, printable(s.cost->worst_label)));
    }
    if (more.budget) {
        text += more.recommended > 0
                    ? fmt::format("\nkeep {}: the fewest of these within the budget\n", more.recommended)
                    : "\nnone of these is within the budget\n";
    }
    return text;
}

nlohmann::ordered_json estimate_json(const evaluate::estimate & e) {
    return {{"value", e.value}, {"low", e.range.low}, {"high", e.range.high}};
}

nlohmann::ordered_json cost_json(const plan_cost & c) {
    nlohmann::ordered_json j = {{"delta_nll", estimate_json(c.delta_nll)}, {"kl", estimate_json(c.kl)}};
    if (!c.worst_label.empty()) {
        j["worst_label"]     = c.worst_label;
        j["worst_delta_nll"] = c.worst_nll;
    }
    return j;
}

void add_review(nlohmann::ordered_json & out, const plan_review & more) {
    out["criterion"] = more.criterion;
    out["evaluate"]  = more.evaluate;
    out["measures"]  = measures_json(more.measures);
    if (!more.displaced.empty()) {
        out["displaced"] = more.displaced.front().share;
    }
    if (more.displaced.size() > 1) {
        out["displaced_by_label"] = displaced_json(more.displaced);
    }
    for (const prune::rival_plan & r : more.rivals) {
        nlohmann::ordered_json & to = out["others"][prune::criterion_name(r.criterion)];
        to                          = measures_json(r.measures);
        to["keeps_other_experts"]   = r.n_other;
        to["displaced"]             = r.displaced.front().share;
        if (r.displaced.size() > 1) {
            to["displaced_by_label"] = displaced_json(r.displaced);
        }
    }
}

}  // namespace

std::string measure_text(double value, bool as_percent) {
    return value < 0 ? "–" : as_percent ? percent(value, 1) : fmt::format("{:.4g}", value);
}

std::string displaced_text(const plan_review & more) {
    if (more.displaced.empty()) {
        return "";
    }
    std::string labels;
    for (size_t i = 1; i < more.displaced.size(); ++i) {
        labels += fmt::format("{}{} {}", labels.empty() ? "" : ", ", printable(more.displaced[i].label),
                              percent(more.displaced[i].share, 1));
    }
    return fmt::format("displaced selections: {}{}\n", percent(more.displaced.front().share, 1),
                       labels.empty() ? "" : " (" + labels + ")");
}

std::string plan_text(const prune::prune_plan & plan, const plan_review & more) {
    const std::string losses = losses_table(plan, more);
    return plan_line(plan, more) + losses + (losses.empty() ? "" : "\n") + layer_table(plan, more) +
           fmt::format("\nwhat does it cost?  {}\n", more.evaluate);
}

std::string sweep_text(const std::vector<swept_plan> & swept, const sweep_review & more) {
    std::string text = fmt::format("by {}\n{:>6} {:>12} {:>8}  {:>10}  {:>14}  {}\n", more.criterion, "keeps", "size",
                                   "", "displaced", "removal error", "most displaced label");
    for (const swept_plan & s : swept) {
        const prune::prune_plan & p = s.plan;
        text += fmt::format("{:>6} {:>12} {:>8}  {:>10}  {:>14}  {}\n", p.n_keep, human_bytes(p.bytes_after),
                            percent(double(p.bytes_after), double(p.bytes_before)),
                            s.displaced.empty() ? "–" : percent(s.displaced.front().share, 1),
                            measure_text(s.measures.removal, true), worst_text(s.displaced));
    }
    return text +
           (swept.front().cost ? costs_text(swept, more) : fmt::format("\nwhat do they cost?  {}\n", more.evaluate));
}

nlohmann::ordered_json sweep_json(const std::vector<swept_plan> & swept, const sweep_review & more) {
    nlohmann::ordered_json json;
    json["criterion"] = more.criterion;
    json["evaluate"]  = more.evaluate;
    json["plans"]     = nlohmann::ordered_json::array();
    for (const swept_plan & s : swept) {
        nlohmann::ordered_json plan = {{"n_keep", s.plan.n_keep},
                                       {"bytes_before", s.plan.bytes_before},
                                       {"bytes_after", s.plan.bytes_after},
                                       {"measures", measures_json(s.measures)}};
        if (!s.displaced.empty()) {
            plan["displaced"]          = s.displaced.front().share;
            plan["displaced_by_label"] = displaced_json(s.displaced);
        }
        if (s.cost) {
            plan["cost"] = cost_json(*s.cost);
        }
        json["plans"].push_back(plan);
    }
    if (more.budget) {
        json["recommended"] =
            more.recommended > 0 ? nlohmann::ordered_json(more.recommended) : nlohmann::ordered_json();
    }
    return json;
}

nlohmann::ordered_json plan_json(const prune::prune_plan & plan, const plan_review & more) {
    nlohmann::ordered_json json = {
        {"n_expert", plan.shape.n_expert}, {"n_keep", plan.n_keep},     {"bytes_before", plan.bytes_before},
        {"bytes_after", plan.bytes_after}, {"warnings", plan.warnings}, {"layers", nlohmann::ordered_json::object()},
    };
    for (const auto & [il, layer] : plan.layers) {
        nlohmann::ordered_json & out = json["layers"][std::to_string(il)];
        out = {{"kept", layer.kept}, {"bytes_before", layer.bytes_before}, {"bytes_after", layer.bytes_after}};
        if (const auto displaced = more.displaced_by_layer.find(il); displaced != more.displaced_by_layer.end()) {
            out["displaced"] = displaced->second;
        }
        if (layer.is_mtp) {
            out["mtp"] = true;
        }
    }
    add_review(json, more);
    return json;
}

}  // namespace moescope::cli
