// moescope analyze vocabulary: which experts serve which tokens.

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/tools/running_stats.hpp"
#include "analysis/vocabulary.hpp"
#include "cli/answers/shared.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

constexpr uint64_t most_memory = 256u << 20;  // bytes of counts

std::string text_of(const trace::trace_source & source, int32_t token) {
    const std::string * piece = source.piece(token);
    return piece != nullptr ? *piece : "";
}

std::string quoted(const trace::trace_source & source, int32_t token) {
    const std::string text = text_of(source, token);
    return text.empty() ? "#" + std::to_string(token) : "'" + printable(text) + "'";
}

table layers_table(const std::vector<const block_vocabulary *> & blocks) {
    table t{"layers",
            "How well a token's id predicts an expert: the leading expert of half its occurrences, in the other half",
            {layer_column,
             block_column,
             {"tokens", "token ids", shown::integer},
             {"specialization", "predicted", shown::percent},
             {"blind", "busiest expert", shown::percent},
             {"chance", "k/E", shown::percent}},
            {}};
    for (const block_vocabulary * b : blocks) {
        t.rows.push_back({layer_cell(b->layout), block_cell(b->layout), whole(b->tokens.size()),
                          b->mean_specialization(), b->blind(), double(b->layout.n_expert_used) / b->layout.n_expert});
    }
    return t;
}

// The experts whose leading token is surely furthest above the average come first.
table experts_table(const std::vector<const block_vocabulary *> & blocks, const trace::trace_source & source,
                    size_t top) {
    constexpr size_t                                  n_tokens = 5;
    table                                             t{"experts",
            "What experts specialise in: tokens by lift (lower end of the 95 % interval)",
            {layer_column,
                                                         block_column,
                                                         {"expert", "expert", shown::integer},
                                                         {"frequency", "of rows", shown::percent},
                                                         {"lift", "lift", shown::ratio},
                                                         {"lift_low", "from", shown::ratio},
                                                         {"tokens", "tokens"},
                                                         {"token_ids", ""}},
            {},
            top};
    std::vector<std::pair<double, std::vector<cell>>> ranked;
    for (const block_vocabulary * b : blocks) {
        for (uint32_t e = 0; e < b->layout.n_expert; ++e) {
            const std::vector<token_lift> best = top_tokens(*b, e, n_tokens);
            if (best.empty()) {
                continue;
            }
            std::string names, ids;
            for (const token_lift & l : best) {
                names += (names.empty() ? "" : " ") + quoted(source, l.token);
                ids += (ids.empty() ? "" : " ") + std::to_string(l.token);
            }
            ranked.push_back({best[0].range.low,
                              {layer_cell(b->layout), block_cell(b->layout), whole(e),
                               double(b->count[e]) / double(b->rows), best[0].lift, best[0].range.low, names, ids}});
        }
    }
    std::stable_sort(ranked.begin(), ranked.end(), [](auto & x, auto & y) { return x.first > y.first; });
    for (auto & [low, row] : ranked) {
        t.rows.push_back(std::move(row));
    }
    return t;
}

table tokens_table(const std::vector<const block_vocabulary *> & blocks, const trace::trace_source & source,
                   size_t top) {
    table        t{"tokens",
            "Token ids, most frequent first: the layer and expert that serve them most consistently",
            {{"token", "token", shown::integer},
                    {"text", "text"},
                    {"count", "seen", shown::integer},
                    layer_column,
                    block_column,
                    {"expert", "expert", shown::integer},
                    {"frequency", "selected", shown::percent},
                    {"specialization", "predicted", shown::percent},
                    {"overall", "all tokens", shown::percent}},
            {},
            top};
    const size_t n = blocks.empty() ? 0 : blocks.front()->tokens.size();
    for (size_t i = 0; i < n; ++i) {
        const block_vocabulary * best = nullptr;
        for (const block_vocabulary * b : blocks) {
            const double s = i < b->tokens.size() ? b->tokens[i].specialization() : unknown;
            if (!std::isnan(s) && (best == nullptr || s > best->tokens[i].specialization())) {
                best = b;
            }
        }
        if (best != nullptr) {
            const token_routing & r = best->tokens[i];
            const size_t          e = r.top_expert();
            t.rows.push_back({int64_t{r.token}, text_of(source, r.token), whole(r.rows), layer_cell(best->layout),
                              block_cell(best->layout), whole(e), r.frequency(e), r.specialization(),
                              double(best->count[e]) / double(best->rows)});
        }
    }
    return t;
}

size_t most_tokens(const graph_layout & blocks) {
    uint64_t per_token = 1;
    for (const block_layout & b : blocks) {
        per_token += vocabulary::bytes_per_token(b.n_expert);
    }
    return static_cast<size_t>(most_memory / per_token);
}

answer answer_vocabulary(const analyze_options & o, uint64_t least) {
    const auto source = open_trace(o, o.traces.front());
    require_rows(*source);
    token_counts counted;
    feed(*source, o, {&counted});
    const std::vector<int32_t> chosen = counted.frequent(least, most_tokens(source->blocks()));
    vocabulary                 v(chosen);
    feed(*source, o, {&v});
    const auto blocks = v.result();
    answer     a;
    a.kind    = "vocabulary";
    a.notes   = source_notes(*source);
    a.figures = {
        {"token_ids", whole(counted.n_tokens())}, {"token_ids_counted", whole(chosen.size())}, {"least", whole(least)}};
    if (chosen.empty()) {
        a.headline.push_back(blocks.empty() ? std::string(nothing_selected)
                             : counted.n_tokens() == 0
                                 ? "Token ids are not known in this trace."
                                 : fmt::format("No token id occurs {} times; ask for fewer with --min N.", least));
        return a;
    }
    running_stats foretold, blind;
    for (const block_vocabulary * b : blocks) {
        if (!std::isnan(b->mean_specialization())) {
            foretold.add(b->mean_specialization());
            blind.add(b->blind());
        }
    }
    a.headline.push_back(fmt::format(
        "A token's id predicts one of its experts in {:.1f} % of the rows (always guessing the busiest expert: "
        "{:.1f} %); {} of {} token ids occur {} times or more.",
        100 * foretold.mean(), 100 * blind.mean(), with_commas(chosen.size()), with_commas(counted.n_tokens()), least));
    if (chosen.size() == most_tokens(source->blocks())) {
        a.notes.push_back("the rarest token ids were left out: their counts would take more than " +
                          human_bytes(most_memory));
    }
    a.tables = {layers_table(blocks), experts_table(blocks, *source, o.top), tokens_table(blocks, *source, o.top)};
    return a;
}

}  // namespace

void add_vocabulary(CLI::App & analyze) {
    auto       least = std::make_shared<uint64_t>(10);
    CLI::App * kind  = add_analysis(analyze, "vocabulary", "which tokens an expert serves", 1, 1,
                                    [=](const analyze_options & o) { return answer_vocabulary(o, *least); });
    kind->add_option("--min", *least, "leave out token ids that occur less often")
        ->capture_default_str()
        ->type_name("N");
    add_examples(
        *kind, {{"moescope analyze vocabulary run.moetrace --min 5", "only token ids that occur five times or more"}});
}

}  // namespace moescope::cli
