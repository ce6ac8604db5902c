// moescope analyze prefetch: how well experts can be foreseen, and how much waiting that saves.

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/prefetch_study.hpp"
#include "cli/answers/prefetch_tables.hpp"
#include "cli/answers/same_model.hpp"
#include "cli/answers/shared.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

struct prefetch_options {
    std::vector<uint32_t> slots;             // per layer
    std::string           model;             // GGUF
    std::string           bandwidth = "8G";  // bytes per second, with a suffix
    std::string           expert_bytes;      // of one slice, with a suffix, where there is no model
    double                layer_ms = 0;      // 0: by the trace's clock
    uint32_t              ahead    = 0;      // 0: k
    bool                  all      = false;  // prefill, too
};

double mean_bytes(const expert_sizes & sizes, const cache_counts & counts) {
    double bytes = 0, slices = 0;
    for (size_t b = 0; b < counts.blocks().size(); ++b) {
        const block_layout & l = counts.blocks()[b].layout;
        bytes += double(sizes.of(l)) * l.n_expert;
        slices += l.n_expert;
    }
    return slices > 0 ? bytes / slices : 0;
}

std::vector<uint32_t> slots_for(const prefetch_options & p, uint32_t n_expert) {
    for (const uint32_t given : p.slots) {
        if (given > n_expert) {
            throw usage_error(fmt::format("--slots {}: a layer has only {} experts", given, n_expert));
        }
    }
    if (!p.slots.empty()) {
        return distinct(p.slots);
    }
    std::vector<uint32_t> slots = {std::max(1u, n_expert / 8), std::max(1u, n_expert / 4), std::max(1u, n_expert / 2)};
    slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
    return slots;
}

// What a sentence calls it.
std::string spoken(foresight f) {
    switch (f) {
        case foresight::previous: return "prefetching what the previous token used";
        case foresight::hot: return "prefetching a static hot list";
        case foresight::coactivated: return "prefetching by co-activation with the layer before";
        case foresight::router: return "prefetching by the router one layer ahead";
        case foresight::router2: return "prefetching by the router two layers ahead";
        default: return "prefetching the union of the lists";
    }
}

void add_verdict(answer & a, const prefetch_result & r, const prefetch_machine & m, uint32_t slots) {
    const double           time  = m.slice_time();
    const prefetch_score * none  = r.find({prefetcher::kind::none, {}}, slots, time);
    const prefetch_score * hot   = r.find({prefetcher::kind::foreseen, foresight::hot}, slots, time);
    const prefetch_score * ideal = r.find({prefetcher::kind::oracle, {}}, slots, time);
    const std::string with = fmt::format("With {}/s and {} slots per layer", human_bytes(uint64_t(m.bandwidth)), slots);
    if (none->stall() <= 0) {
        a.headline.push_back(with + " no layer waits for an expert: there is nothing to hide.");
        return;
    }
    const prefetch_score * best = nullptr;
    for (const foresight f : all_foresights()) {
        const prefetch_score * s = r.find({prefetcher::kind::foreseen, f}, slots, time);
        if (f != foresight::hot && r.all[static_cast<size_t>(f)].rows > 0 &&
            (best == nullptr || s->stall() < best->stall())) {
            best = s;
        }
    }
    const double      best_share = best == nullptr ? 0 : hidden_by(*best, *none).share;
    const double      hot_share  = hidden_by(*hot, *none).share;
    const std::string rest =
        fmt::format("; a static hot list {} {:.0f} %, perfect foresight would hide {:.0f} %.",
                    hot_share < 0 ? "adds" : "hides", 100 * std::abs(hot_share), 100 * hidden_by(*ideal, *none).share);
    if (best == nullptr || best_share <= 0) {
        a.headline.push_back(with + " no foresight hides any of the stall" + rest);
    } else {
        const interval i = hidden_by(*best, *none).range;
        a.headline.push_back(fmt::format(
            "{}, {} hides {:.0f} % of the stall{}{}", with, spoken(best->by.from), 100 * best_share,
            std::isnan(i.low) ? std::string() : fmt::format(" (95 %: {:.0f} to {:.0f})", 100 * i.low, 100 * i.high),
            rest));
        a.figures.push_back({"best", std::string(to_string(best->by))});
    }
    a.figures.push_back({"best_hidden", best_share});
    a.figures.push_back({"hot_list_hidden", hot_share});
    a.figures.push_back({"verdict_slots", whole(slots)});
}

void add_recall_headline(answer & a, const prefetch_result & r) {
    const recall_sums * best = nullptr;
    const char *        name = "";
    for (const foresight f : all_foresights()) {
        const recall_sums & s = r.all[static_cast<size_t>(f)];
        if (s.rows > 0 && (best == nullptr || s.recall(0) > best->recall(0))) {
            best = &s;
            name = to_string(f);
        }
    }
    if (best == nullptr) {
        a.headline.push_back("Nothing could be foreseen: the trace is too short.");
        return;
    }
    double chance = 0, rows = 0;
    for (const block_recall & b : r.blocks) {
        const double n = double(b.by[static_cast<size_t>(foresight::hot)].rows);
        chance += n * b.chance(0);
        rows += n;
    }
    a.headline.push_back(fmt::format("The best list, '{}', names {:.1f} % of a row's experts in its first k; drawn at "
                                     "random {:.1f} %.",
                                     name, 100 * best->recall(0), 100 * chance / rows));
}

void add_notes(answer & a, const prefetch_result & r, const prefetch_study & study, const foreseen_router & router,
               const prefetch_options & p, const prefetch_machine & m) {
    const std::optional<phase> only = study.caches().rows().only;
    a.notes.push_back(fmt::format("{} ubatches with {} tokens ({})", with_commas(r.ubatches), with_commas(r.tokens),
                                  !only                    ? "all"
                                  : *only == phase::decode ? "decoded tokens alone"
                                                           : "prefilled tokens alone"));
    a.notes.push_back(r.units_are_sequences ? fmt::format("intervals are over {} sequences", with_commas(r.units))
                                            : "one sequence: intervals are over stretches of 64 ubatches");
    a.notes.push_back("hot list and co-activation are learned on one half of the trace and judged on the other");
    if (router.empty()) {
        a.notes.push_back(
            "to look ahead with the model's own routers, record with --capture gate-input and give --model");
    } else if (r.own_rows > 0) {
        a.notes.push_back(
            fmt::format("given a layer's own input, its router ({}) selects {:.2f} % of what was recorded: "
                        "100 % means that it is understood",
                        to_string(router.rule()), 100 * r.own));
    }
    if (m.slice_bytes <= 0) {
        a.notes.push_back("nothing was simulated: --model or --expert-bytes says how large an expert is");
    } else if (!(m.layer_seconds > 0)) {
        a.notes.push_back("nothing was simulated: this trace has no clock; --layer-time says how long a layer takes");
    } else {
        a.notes.push_back(fmt::format("a layer takes {:.3f} ms{}, fetching an expert of {} {:.3f} ms",
                                      1e3 * m.layer_seconds, p.layer_ms > 0 ? "" : " (median by the trace's clock)",
                                      human_bytes(uint64_t(m.slice_bytes)), 1e3 * m.slice_bytes / m.bandwidth));
    }
}

prefetch_machine machine_of(const prefetch_options & p, const prefetch_study & study, const expert_sizes & sizes) {
    prefetch_machine m;
    m.bandwidth     = double(parse_bytes(p.bandwidth, "--bandwidth"));
    m.slice_bytes   = !p.expert_bytes.empty() ? double(parse_bytes(p.expert_bytes, "--expert-bytes"))
                                              : mean_bytes(sizes, study.caches().counts());
    m.layer_seconds = p.layer_ms > 0 ? 1e-3 * p.layer_ms : study.layer_seconds();
    if (m.bandwidth <= 0) {
        throw usage_error("--bandwidth must be more than 0");
    }
    return m;
}

answer answer_prefetch(const analyze_options & o, const prefetch_options & p) {
    const auto source = open_trace(o, o.traces.front());
    require_rows(*source);
    prefetch_plan plan;
    if (!p.model.empty()) {
        plan.sizes = read_expert_sizes(p.model);
        require_fit(*source, plan.sizes, p.model);
    }
    foreseen_router router = read_router_for(*source, p.model);
    progress        bar("reading", 0, "tokens");
    prefetch_study  study(*source, router, choice_of(o), !p.all, [&](const trace::amount_read & read) {
        bar.update(read.tokens);
        return true;
    });
    answer          a;
    a.kind  = "prefetch";
    a.notes = source_notes(*source);
    if (study.empty()) {
        a.headline.push_back(nothing_selected);
        return a;
    }
    const prefetch_machine m = machine_of(p, study, plan.sizes);
    plan.ahead               = p.ahead;
    if (m.slice_bytes > 0 && m.layer_seconds > 0) {
        plan.slots       = slots_for(p, study.caches().most_experts());
        plan.slice_times = {m.slice_time()};
    }
    const prefetch_result r = *study.simulate(plan);
    a.figures = {{"tokens", whole(r.tokens)},        {"ubatches", whole(r.ubatches)},  {"units", whole(r.units)},
                 {"own_input_recall", r.own},        {"bandwidth_bytes", m.bandwidth}, {"expert_bytes", m.slice_bytes},
                 {"layer_ms", 1e3 * m.layer_seconds}};
    if (!plan.slots.empty()) {
        add_verdict(a, r, m, plan.slots[plan.slots.size() / 2]);
    }
    add_recall_headline(a, r);
    a.tables = {recall_table(r), prefetch_layers_table(r), layer_recall_table(r)};
    if (!plan.slots.empty()) {
        a.tables.insert(a.tables.begin() + 1, stall_table(r, m));
    }
    add_notes(a, r, study, router, p, m);
    return a;
}

}  // namespace

void add_prefetch(CLI::App & analyze) {
    auto p = std::make_shared<prefetch_options>();
    auto kind =
        add_analysis(analyze, "prefetch", "how well the next experts can be foreseen, and how much waiting that saves",
                     1, 1, [=](analyze_options & o) {
                         o.answer.output.inputs.push_back(p->model);
                         return answer_prefetch(o, *p);
                     });
    kind->add_option("--model", p->model, "the GGUF that ran: its routers look ahead, and how large an expert is")
        ->type_name("MODEL");
    kind->add_option("--slots", p->slots, "experts per layer that an LRU cache holds, e.g. 8,16,32")
        ->delimiter(',')
        ->type_name("LIST");
    kind->add_option("--bandwidth", p->bandwidth, "bytes per second from where experts come, e.g. 25G")
        ->capture_default_str()
        ->type_name("BYTES");
    kind->add_option("--layer-time", p->layer_ms, "milliseconds that a layer computes; default: by the trace's clock")
        ->check(CLI::PositiveNumber)
        ->type_name("MS");
    kind->add_option("--expert-bytes", p->expert_bytes, "how large an expert is, e.g. 9M; default: by --model")
        ->type_name("BYTES");
    kind->add_option("--ahead", p->ahead, "experts of a list that are fetched; default: k")
        ->check(CLI::PositiveNumber)
        ->type_name("N");
    kind->add_flag("--all", p->all, "all ubatches, not only those with decoded tokens");
    add_examples(*kind, {{"moescope analyze prefetch run.moetrace --model model.gguf --bandwidth 8G",
                          "what the model's own routers foresee, if the trace has --capture gate-input"},
                         {"moescope analyze prefetch run.moetrace --slots 16 --expert-bytes 9M --layer-time 0.4",
                          "the same question without the model"}});
}

}  // namespace moescope::cli
