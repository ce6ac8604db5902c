#include "cli/answers/prefetch_tables.hpp"

#include <algorithm>

#include "cli/answers/shared.hpp"

namespace moescope::cli {

using namespace analysis;

table recall_table(const prefetch_result & r) {
    table t{"recall",
            "Share of a row's experts among the first k, 2k and 3k of each list, over all layers",
            {{"foresight", "foreseen by"},
             {"rows", "rows", shown::integer},
             {"recall_k", "of k", shown::percent},
             {"recall_k_low", "from", shown::percent},
             {"recall_k_high", "to (95 %)", shown::percent},
             {"recall_2k", "of 2k", shown::percent},
             {"recall_2k_low", "", shown::percent},
             {"recall_2k_high", "", shown::percent},
             {"recall_3k", "of 3k", shown::percent},
             {"recall_3k_low", "", shown::percent},
             {"recall_3k_high", "", shown::percent}},
            {}};
    for (const foresight f : all_foresights()) {
        const recall_sums & s = r.all[static_cast<size_t>(f)];
        if (s.rows == 0) {
            continue;
        }
        std::vector<cell> row = {std::string(to_string(f)), whole(s.rows)};
        for (size_t m = 0; m < recall_sums::n_m; ++m) {
            const interval i = s.range(m);
            row.insert(row.end(), {s.recall(m), i.low, i.high});
        }
        t.rows.push_back(std::move(row));
    }
    return t;
}

table prefetch_layers_table(const prefetch_result & r) {
    table t{"layers",
            "Share of a row's experts among the first k of each list; k/E: of experts drawn at random",
            {layer_column, block_column, {"chance", "k/E", shown::percent}},
            {}};
    for (const foresight f : all_foresights()) {
        std::string key = to_string(f);
        std::replace_if(
            key.begin(), key.end(), [](char c) { return c == ' ' || c == '-' || c == ','; }, '_');
        t.columns.push_back({key, r.all[static_cast<size_t>(f)].rows > 0 ? to_string(f) : "", shown::percent});
    }
    for (const block_recall & b : r.blocks) {
        std::vector<cell> row = {layer_cell(b.layout), block_cell(b.layout), b.chance(0)};
        for (const recall_sums & s : b.by) {
            row.push_back(s.recall(0));
        }
        t.rows.push_back(std::move(row));
    }
    return t;
}

table layer_recall_table(const prefetch_result & r) {
    table t{"layer_recall",
            "Recall by layer, list and length of the list",
            {layer_column,
             block_column,
             {"foresight", "foreseen by"},
             {"m", "first", shown::integer},
             {"rows", "rows", shown::integer},
             {"recall", "recall", shown::percent},
             {"recall_low", "from", shown::percent},
             {"recall_high", "to (95 %)", shown::percent},
             {"chance", "chance", shown::percent}},
            {},
            0};
    for (const block_recall & b : r.blocks) {
        for (const foresight f : all_foresights()) {
            const recall_sums & s = b.by[static_cast<size_t>(f)];
            for (size_t m = 0; m < recall_sums::n_m && s.rows > 0; ++m) {
                const interval i = s.range(m);
                t.rows.push_back({layer_cell(b.layout), block_cell(b.layout), std::string(to_string(f)),
                                  whole((m + 1) * b.layout.n_expert_used), whole(s.rows), s.recall(m), i.low, i.high,
                                  b.chance(m)});
            }
        }
    }
    return t;
}

table stall_table(const prefetch_result & r, const prefetch_machine & m) {
    table                  t{"stall",
            "Time that layers wait for experts, and bytes that are fetched; oracle knows what the next layer selects",
            {{"slots", "slots/layer", shown::integer},
                              {"foresight", "foreseen by"},
                              {"stall_ms_per_token", "ms/token waited", shown::real},
                              {"hidden", "hidden", shown::percent},
                              {"hidden_low", "from", shown::percent},
                              {"hidden_high", "to (95 %)", shown::percent},
                              {"bytes_per_token", "fetched/token", shown::bytes},
                              {"bytes_in_vain_per_token", "in vain/token", shown::bytes}},
            {}};
    const prefetch_score * none = nullptr;
    for (const prefetch_score & s : r.scores) {
        none = s.by.how == prefetcher::kind::none ? &s : none;
        if (s.by.how == prefetcher::kind::foreseen && r.all[static_cast<size_t>(s.by.from)].rows == 0) {
            continue;
        }
        const hidden_stall h      = hidden_by(s, *none);
        const double       tokens = double(r.tokens), bytes = m.bandwidth * m.layer_seconds / tokens;
        const bool         bare = s.by.how == prefetcher::kind::none;
        t.rows.push_back({whole(s.slots), std::string(to_string(s.by)), 1e3 * m.layer_seconds * s.stall() / tokens,
                          bare ? unknown : h.share, bare ? unknown : h.range.low, bare ? unknown : h.range.high,
                          bytes * (s.ahead + s.on_demand), bytes * s.in_vain});
    }
    return t;
}

}  // namespace moescope::cli
