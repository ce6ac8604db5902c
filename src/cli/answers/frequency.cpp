// moescope analyze frequency: which experts are used, how evenly, and which are not.

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/frequency.hpp"
#include "analysis/tools/imatrix.hpp"
#include "cli/answers/frequency_tables.hpp"
#include "cli/answers/profile_files.hpp"
#include "cli/answers/same_model.hpp"
#include "cli/answers/shared.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "gguf/head.hpp"
#include "logs/open.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

void add_headline(answer & a, const frequency_result & r) {
    const uint64_t selections = r.selections(), experts = r.n_experts(), dead = r.n_dead();
    double         dead_by_chance = 0, entropy = 0, coverage = 0, coverage_chance = 0;
    for (const block_frequency & b : r.blocks) {
        const double weight = b.measured.selections ? 1 : 0;
        dead_by_chance += b.chance.mean.dead;
        entropy += weight ? b.measured.entropy : 0;
        coverage += weight ? b.measured.coverage[2] : 0;
        coverage_chance += b.chance.mean.coverage[2];
    }
    a.figures = {{"tokens", whole(r.tokens)},
                 {"tokens_decoded", whole(r.decoded)},
                 {"ubatches", whole(r.ubatches)},
                 {"n_blocks", whole(r.blocks.size())},
                 {"n_experts", whole(experts)},
                 {"selections", whole(selections)},
                 {"dead", whole(dead)},
                 {"dead_chance", dead_by_chance},
                 {"invalid_ids", whole(r.invalid_ids)},
                 {"bad_probs", whole(r.bad_probs)}};
    if (r.blocks.empty() || selections == 0) {
        a.headline.push_back(nothing_selected);
        return;
    }
    a.headline.push_back(fmt::format("{}, {}, {}, {}.", counted(r.tokens, "token"),
                                     counted(r.blocks.size(), "MoE layer"), counted(experts, "expert"),
                                     counted(selections, "selection")));
    a.headline.push_back(fmt::format("{} of {} experts were never selected{}.", with_commas(dead), with_commas(experts),
                                     std::isnan(dead_by_chance)
                                         ? std::string()
                                         : fmt::format(" (random routing of as many rows: {:.1f})", dead_by_chance)));
    const double n = static_cast<double>(experts);
    a.headline.push_back(fmt::format(
        "90 % of the selections went to {:.1f} % of the experts{}; mean normalised entropy {:.3f}.", 100 * coverage / n,
        std::isnan(coverage_chance) ? std::string() : fmt::format(" (random: {:.1f} %)", 100 * coverage_chance / n),
        entropy / double(r.blocks.size())));
}

// Quantising an expert with an imatrix that hardly saw it rests on almost nothing.
void add_calibration_warning(answer & a, const frequency_result & r) {
    constexpr size_t named = 12;
    std::string      names;
    size_t           n = 0;
    for (const expert_place & p : ranked_experts(r, false)) {
        if (p.vs_balance() < hardly_used && n++ < named) {
            names += fmt::format("{}{}/{}", names.empty() ? "" : ", ", block_name(p.block->layout), p.expert);
        }
    }
    if (n > 0) {
        a.notes.push_back(fmt::format(
            "the calibration hardly saw {} of {} experts (below a tenth of their balanced share): layer/expert "
            "{}{}; a text that uses them would make a better imatrix",
            with_commas(n), with_commas(r.n_experts()), names, n > named ? ", … (--full)" : ""));
    }
}

// Whether a file has counts alone: beside it, traces with rows are read as counts, too.
bool has_counts_alone(const std::string & path) {
    return gguf::is_gguf(path) || is_profile(path) || logs::open_source(path)->stored_counts() != nullptr;
}

frequency_result read_all(const analyze_options & o, answer & a) {
    frequency     counter;
    expert_counts stored;
    one_model     same;
    const bool    rows = std::none_of(o.traces.begin(), o.traces.end(), has_counts_alone);
    for (const std::string & path : o.traces) {
        if (gguf::is_gguf(path)) {
            imatrix_counts imatrix = read_imatrix_counts(path);
            same.add(path, {}, imatrix.counts.layout);
            stored.add(imatrix.counts);
            a.notes.insert(a.notes.end(), imatrix.notes.begin(), imatrix.notes.end());
            a.notes.push_back(
                "the selections are those that llama-imatrix counted" +
                (imatrix.datasets.empty() ? "" : ", calibrated on " + printable(imatrix.datasets.front())));
            continue;
        }
        if (is_profile(path)) {
            const stats::moestats profile = read_profile(path);
            const expert_counts   counts  = counts_of(profile);
            same.add(path, profile.model, counts.layout);
            stored.add(counts);
            continue;
        }
        const auto source = open_trace(o, path);
        same.add(path, source->model(), source->blocks());
        for (std::string & n : source_notes(*source)) {
            a.notes.push_back(std::move(n));
        }
        if (source->stored_counts() != nullptr) {
            stored.add(*source->stored_counts());
        } else if (rows) {
            feed(*source, o, {&counter});
        } else if (is_trace(path)) {
            stored.add(counts_of(read_counts_or_more(path)));
        } else {
            throw usage_error("a log of another tool cannot be mixed with counts alone: analyze it separately")
                .in(path);
        }
    }
    if (!rows && !o.phase.empty()) {
        throw error("counts alone do not tell decoded from prefilled tokens")
            .in(o.traces.front())
            .fix("leave out --phase");
    }
    if (rows) {
        return counter.result();
    }
    require_layers(stored.layout, o.traces.front(), o);
    const row_choice choice = choice_of(o);
    expert_counts    chosen = stored;
    chosen.layout.clear();
    chosen.blocks.clear();
    for (size_t i = 0; i < stored.layout.size(); ++i) {
        if (choice.layers.has(stored.layout[i].layer)) {
            chosen.layout.push_back(stored.layout[i]);
            chosen.blocks.push_back(stored.blocks[i]);
        }
    }
    return frequency_of(chosen);
}

}  // namespace

answer answer_frequency(const analyze_options & o, bool phases) {
    answer                 a;
    const frequency_result r = read_all(o, a);
    a.kind                   = "frequency";
    add_headline(a, r);
    a.tables.push_back(frequency_layers(r));
    a.tables.push_back(router_by_layer(r));
    if (phases && r.has_phases) {
        a.tables.push_back(experts_by_phase(r));
    }
    add_expert_tables(a, r, o.top);
    a.tables.push_back(experts_by_id(r, o.top));
    if (std::any_of(o.traces.begin(), o.traces.end(), gguf::is_gguf)) {
        add_calibration_warning(a, r);
    }
    if (r.invalid_ids > 0) {
        a.notes.push_back(
            fmt::format("{} ids are not experts of their layer and were left out; 'moescope check' says more",
                        with_commas(r.invalid_ids)));
    }
    if (r.bad_probs > 0) {
        a.notes.push_back(with_commas(r.bad_probs) +
                          " rows were left out: their probabilities are negative or not finite");
    }
    return a;
}

void add_frequency(CLI::App & analyze) {
    auto       phases = std::make_shared<bool>(false);
    CLI::App * kind =
        add_analysis(analyze, "frequency", "how often each expert is selected; also from a profile or an imatrix", 1, 0,
                     [phases](const analyze_options & o) { return answer_frequency(o, *phases); });
    kind->add_flag("--phases", *phases, "also show prefilled and decoded tokens separately");
    add_examples(*kind,
                 {{"moescope analyze frequency run.moetrace", "the busiest and the idlest experts, with intervals"},
                  {"moescope analyze frequency run.moetrace --phases", "prompt and generated tokens apart"}});
}

}  // namespace moescope::cli
