// moescope analyze frequency: which experts are used, how evenly, and which are not.

#include <algorithm>

#include <fmt/format.h>

#include "analysis/frequency.hpp"
#include "analysis/imatrix.hpp"
#include "cli/answers/same_model.hpp"
#include "cli/answers/shared.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "gguf/head.hpp"
#include "logs/open.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

// Below this part of the balanced share an expert counts as hardly used.
constexpr double hardly = 0.1;

table layers_table(const frequency_result & r) {
    table t{"layers",
            "Layers; chance: what random routing of as many rows shows; N %: the fewest experts that hold it",
            {layer_column,
             block_column,
             {"rows", "rows", shown::integer},
             {"dead", "dead", shown::integer},
             {"dead_chance", "chance", shown::integer},
             {"entropy", "entropy", shown::real},
             {"entropy_chance", "chance", shown::real},
             {"gini", "Gini", shown::real},
             {"gini_chance", "chance", shown::real},
             {"max_vio", "MaxVio", shown::real},
             {"max_vio_chance", "chance", shown::real},
             {"coverage_50", "50 %", shown::integer},
             {"coverage_80", "80 %", shown::integer},
             {"coverage_90", "90 %", shown::integer},
             {"coverage_90_chance", "chance", shown::integer},
             {"coverage_95", "95 %", shown::integer},
             {"n_expert", "experts", shown::integer},
             {"n_expert_used", "k", shown::integer},
             {"coverage_50_chance", ""},
             {"coverage_80_chance", ""},
             {"coverage_95_chance", ""},
             {"p_dead_chance", ""},
             {"selections", ""}},
            {}};
    for (const block_frequency & b : r.blocks) {
        const balance &m = b.measured, &c = b.chance.mean;
        const auto     count = [](double v) {
            return cell_if(!std::isnan(v), static_cast<uint64_t>(std::isnan(v) ? 0 : v));
        };
        const bool known_k = b.layout.n_expert_used > 0;
        t.rows.push_back({layer_cell(b.layout),
                          block_cell(b.layout),
                          cell_if(known_k, b.n_rows),
                          count(m.dead),
                          c.dead,
                          m.entropy,
                          c.entropy,
                          m.gini,
                          c.gini,
                          m.max_vio,
                          c.max_vio,
                          count(m.coverage[0]),
                          count(m.coverage[1]),
                          count(m.coverage[2]),
                          c.coverage[2],
                          count(m.coverage[3]),
                          whole(b.layout.n_expert),
                          cell_if(known_k, b.layout.n_expert_used),
                          c.coverage[0],
                          c.coverage[1],
                          c.coverage[3],
                          b.chance.p_dead,
                          whole(m.selections)});
    }
    return t;
}

table router_table(const frequency_result & r) {
    table t{"router",
            "The router's probabilities per row: normalised entropy (1: undecided) and lead of the first expert",
            {layer_column,
             block_column,
             {"rows", "rows", shown::integer},
             {"entropy", "entropy", shown::real},
             {"entropy_sd", "sd", shown::real},
             {"top1_margin", "top-1 margin", shown::real},
             {"top1_margin_sd", "sd", shown::real}},
            {}};
    for (const block_frequency & b : r.blocks) {
        if (b.router_entropy.n() > 0) {
            t.rows.push_back({layer_cell(b.layout), block_cell(b.layout), whole(b.router_entropy.n()),
                              b.router_entropy.mean(), b.router_entropy.sd(), b.top1_margin.mean(),
                              b.top1_margin.sd()});
        }
    }
    return t;
}

struct expert_place {
    const block_frequency * block;
    uint32_t                expert;
    double                  vs_balance() const { return block->share(expert) * block->layout.n_expert; }
};

std::vector<expert_place> ranked_experts(const frequency_result & r, bool falling) {
    std::vector<expert_place> all;
    for (const block_frequency & b : r.blocks) {
        for (uint32_t e = 0; e < b.layout.n_expert && b.measured.selections > 0; ++e) {
            all.push_back({&b, e});
        }
    }
    std::stable_sort(all.begin(), all.end(), [&](const expert_place & a, const expert_place & b) {
        return falling ? a.vs_balance() > b.vs_balance() : a.vs_balance() < b.vs_balance();
    });
    return all;
}

const std::vector<table_column> expert_columns = {layer_column,
                                                  block_column,
                                                  {"expert", "expert", shown::integer},
                                                  {"count", "selections", shown::integer},
                                                  {"share", "share", shown::percent},
                                                  {"share_low", "from", shown::percent},
                                                  {"share_high", "to (95 %)", shown::percent},
                                                  {"vs_balance", "against 1/E", shown::ratio},
                                                  {"frequency", "of rows", shown::percent}};

std::vector<cell> expert_row(const block_frequency & b, uint32_t e) {
    const interval i    = b.share_interval(e);
    const bool     rows = b.layout.n_expert_used > 0 && b.n_rows > 0;
    return {layer_cell(b.layout),
            block_cell(b.layout),
            whole(e),
            whole(b.total[e]),
            b.share(e),
            i.low,
            i.high,
            b.share(e) * b.layout.n_expert,
            rows ? double(b.total[e]) / double(b.n_rows) : unknown};
}

void add_expert_tables(answer & a, const frequency_result & r, size_t top) {
    const std::vector<expert_place> ranked = ranked_experts(r, true), rising = ranked_experts(r, false);
    table                           most{"top", "Most used experts", expert_columns, {}};
    table                           least{"bottom", "Least used experts", expert_columns, {}};
    table rare{"hardly_used", fmt::format("Experts below a tenth of their balanced share"), expert_columns, {}, top};
    table every{"experts", "All experts", expert_columns, {}, 0};
    for (size_t i = 0; i < ranked.size(); ++i) {
        const expert_place & up   = ranked[i];
        const expert_place & down = rising[i];
        if (i < top) {
            most.rows.push_back(expert_row(*up.block, up.expert));
            least.rows.push_back(expert_row(*down.block, down.expert));
        }
        if (down.vs_balance() < hardly) {
            rare.rows.push_back(expert_row(*down.block, down.expert));
        }
    }
    for (const block_frequency & b : r.blocks) {
        for (uint32_t e = 0; e < b.layout.n_expert; ++e) {
            every.rows.push_back(expert_row(b, e));
        }
    }
    a.tables.insert(a.tables.end(), {most, least, rare, every});
}

// Over all layers by id, as other tracers count. Ids of different layers are different experts.
table by_id_table(const frequency_result & r, size_t top) {
    table        t{"by_id",
            "By id over all layers (ids of different layers are different experts)",
            {{"expert", "expert", shown::integer},
                    {"count", "selections", shown::integer},
                    {"share", "share", shown::percent},
                    {"vs_balance", "against 1/E", shown::ratio}},
            {},
            top};
    const double total = static_cast<double>(r.selections()), n = static_cast<double>(r.by_id.size());
    for (size_t e = 0; e < r.by_id.size(); ++e) {
        const double share = total > 0 ? static_cast<double>(r.by_id[e]) / total : unknown;
        t.rows.push_back({whole(e), whole(r.by_id[e]), share, share * n});
    }
    std::stable_sort(t.rows.begin(), t.rows.end(),
                     [](const auto & a, const auto & b) { return std::get<int64_t>(a[1]) > std::get<int64_t>(b[1]); });
    return t;
}

table phases_table(const frequency_result & r) {
    table                         t{"phases",
            "Prefilled and decoded tokens apart",
            {layer_column,
                                     block_column,
                                     {"phase", "phase"},
                                     {"rows", "rows", shown::integer},
                                     {"dead", "dead", shown::integer},
                                     {"entropy", "entropy", shown::real},
                                     {"entropy_chance", "(chance)", shown::real},
                                     {"gini", "Gini", shown::real},
                                     {"max_vio", "MaxVio", shown::real},
                                     {"coverage_90", "90 %", shown::integer},
                                     {"top_expert", "top", shown::integer},
                                     {"top_share", "its share", shown::percent}},
            {}};
    static constexpr const char * names[] = {"prefill", "decode", "unknown"};
    for (const block_frequency & b : r.blocks) {
        for (size_t kind = 0; kind < n_row_kinds; ++kind) {
            if (b.rows[kind] == 0) {
                continue;
            }
            const auto &  count = b.count[kind];
            const balance m     = measure_balance(count);
            const auto    top   = std::max_element(count.begin(), count.end());
            t.rows.push_back({layer_cell(b.layout), block_cell(b.layout), std::string(names[kind]), whole(b.rows[kind]),
                              static_cast<int64_t>(m.dead), m.entropy,
                              balance_by_chance(b.rows[kind], b.layout.n_expert_used, b.layout.n_expert).mean.entropy,
                              m.gini, m.max_vio, m.coverage[2], whole(static_cast<uint64_t>(top - count.begin())),
                              double(*top) / double(m.selections)});
        }
    }
    return t;
}

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
    a.headline.push_back(fmt::format("{}, {} with MoE, {}, {}.", counted(r.tokens, "token"),
                                     counted(r.blocks.size(), "layer"), counted(experts, "expert"),
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
        if (p.vs_balance() < hardly && n++ < named) {
            names += fmt::format("{}{}/{}", names.empty() ? "" : ", ", block_name(p.block->layout), p.expert);
        }
    }
    if (n > 0) {
        a.notes.push_back(
            fmt::format("calibration hardly saw {} of {} experts (below a tenth of their balanced share): layer/expert "
                        "{}{}; a text that uses them makes a better imatrix",
                        with_commas(n), with_commas(r.n_experts()), names, n > named ? ", … (--full)" : ""));
    }
}

frequency_result read_all(const analyze_options & o, answer & a) {
    frequency     counter;
    expert_counts stored;
    one_model     same;
    bool          rows = false;
    for (const std::string & path : o.traces) {
        if (gguf::is_gguf(path)) {
            imatrix_counts imatrix = read_imatrix_counts(path);
            same.add(path, {}, imatrix.counts.layout);
            stored.add(imatrix.counts);
            a.notes.insert(a.notes.end(), imatrix.notes.begin(), imatrix.notes.end());
            a.notes.push_back(
                "selections are those that llama-imatrix saw" +
                (imatrix.datasets.empty() ? "" : ", calibrated on " + printable(imatrix.datasets.front())));
            continue;
        }
        const auto source = logs::open_source(path);
        same.add(path, source->model(), source->blocks());
        for (std::string & n : source_notes(*source)) {
            a.notes.push_back(std::move(n));
        }
        if (source->stored_counts() != nullptr) {
            stored.add(*source->stored_counts());
        } else {
            feed(*source, o, {&counter});
            rows = true;
        }
    }
    if (rows && !stored.layout.empty()) {
        throw usage_error("traces with rows and counts alone do not go together: analyze them one by one");
    }
    if (!rows && !o.phase.empty()) {
        throw error("counts alone do not tell decoded from prefilled").in(o.traces.front()).fix("leave --phase away");
    }
    if (rows) {
        return counter.result();
    }
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
    a.tables.push_back(layers_table(r));
    a.tables.push_back(router_table(r));
    if (phases && r.has_phases) {
        a.tables.push_back(phases_table(r));
    }
    add_expert_tables(a, r, o.top);
    a.tables.push_back(by_id_table(r, o.top));
    if (std::any_of(o.traces.begin(), o.traces.end(), gguf::is_gguf)) {
        add_calibration_warning(a, r);
    }
    if (r.invalid_ids > 0) {
        a.notes.push_back(
            fmt::format("{} ids are not experts of their layer and were left out: moescope check says more",
                        with_commas(r.invalid_ids)));
    }
    if (r.bad_probs > 0) {
        a.notes.push_back(with_commas(r.bad_probs) +
                          " rows hold probabilities that are negative or not finite; left out");
    }
    return a;
}

answer answer_stats(const analyze_options & o) {
    answer a          = answer_frequency(o, true);
    a.kind            = "stats";
    const auto source = logs::open_source(o.traces.front());
    a.figures.push_back({"model", source->model().name});
    a.figures.push_back({"architecture", source->model().architecture});
    a.figures.push_back({"program", source->info().program});
    a.figures.push_back({"bytes", whole(source->info().bytes)});
    a.figures.push_back({"run_ns", whole(source->info().run_ns)});
    a.figures.push_back({"capture_ns", whole(source->info().capture_ns)});
    return a;
}

}  // namespace moescope::cli
