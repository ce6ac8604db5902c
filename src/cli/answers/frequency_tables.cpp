#include "cli/answers/frequency_tables.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "cli/answers/shared.hpp"
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

const std::vector<table_column> ranked_columns = {layer_column,
                                                  block_column,
                                                  {"expert", "expert", shown::integer},
                                                  {"count", "selections", shown::integer},
                                                  {"share", "share", shown::percent},
                                                  {"share_low", "from", shown::percent},
                                                  {"share_high", "to (95 %)", shown::percent},
                                                  {"vs_balance", "vs 1/E", shown::ratio},
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

}  // namespace

table frequency_layers(const frequency_result & r) {
    table t{"layers",
            "Layers; chance: random routing of as many rows; N %: the fewest experts that take N % of the selections",
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

table router_by_layer(const frequency_result & r) {
    table t{
        "router",
        "The router's probabilities per row: normalised entropy (1: undecided) and the first expert's lead over the second",
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

void add_expert_tables(answer & a, const frequency_result & r, size_t top) {
    const std::vector<expert_place> ranked = ranked_experts(r, true), rising = ranked_experts(r, false);
    table                           most{"top", "Most used experts", ranked_columns, {}};
    table                           least{"bottom", "Least used experts", ranked_columns, {}};
    table rare{"hardly_used", fmt::format("Experts below a tenth of their balanced share"), ranked_columns, {}, top};
    table every{"experts", "All experts", ranked_columns, {}, 0};
    for (size_t i = 0; i < ranked.size(); ++i) {
        const expert_place & up   = ranked[i];
        const expert_place & down = rising[i];
        if (i < top) {
            most.rows.push_back(expert_row(*up.block, up.expert));
            least.rows.push_back(expert_row(*down.block, down.expert));
        }
        if (down.vs_balance() < hardly_used) {
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
table experts_by_id(const frequency_result & r, size_t top) {
    table        t{"by_id",
            "By id over all layers (ids of different layers are different experts)",
            {{"expert", "expert", shown::integer},
                    {"count", "selections", shown::integer},
                    {"share", "share", shown::percent},
                    {"vs_balance", "vs 1/E", shown::ratio}},
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

table experts_by_phase(const frequency_result & r) {
    table                         t{"phases",
            "Prefilled and decoded tokens separately",
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

}  // namespace moescope::cli
