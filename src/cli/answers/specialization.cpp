// moescope analyze specialization: do domains use different experts?

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/specialization.hpp"
#include "analysis/tools/prompt_labels.hpp"
#include "analysis/tools/running_stats.hpp"
#include "cli/answers/label_field.hpp"
#include "cli/answers/profile_files.hpp"
#include "cli/answers/profile_tables.hpp"
#include "cli/answers/same_model.hpp"
#include "cli/answers/shared.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "io/path.hpp"
#include "trace/format.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

// Where labels come from that a trace does not keep.
struct label_options {
    std::string jsonl;           // empty: from the trace, or its name
    std::string key = "domain";  // field of a line
};

std::string short_name(const std::string & path) {
    return io::without_suffix(io::base_name(path), trace::file_suffix);
}

// A trace's name as a domain: without its folders where that tells it from the others.
std::string domain_name(const std::string & path, const std::vector<std::string> & all) {
    const bool alone = std::none_of(all.begin(), all.end(), [&](const std::string & other) {
        return other != path && short_name(other) == short_name(path);
    });
    return alone ? short_name(path) : path;
}

// Those that the trace keeps.
std::vector<std::string> labels_of(const trace::trace_source & source) {
    std::vector<std::string> labels = prompt_labels(source.info().notes);
    if (labels.empty()) {
        throw usage_error(
            "specialization needs domains: give one trace per domain, one trace of 'run --label-key', or --jsonl FILE");
    }
    return labels;
}

table distances_table(const specialization_result & r) {
    table t{
        "distances",
        "Jensen-Shannon distance of domains (0: identical, 1: disjoint), mean over layers; halves: samples of equal size; "
        "within: two halves of one domain, which is chance",
        {{"domain_a", "domain"},
         {"domain_b", "and"},
         {"distance", "all rows", shown::real},
         {"half_distance", "halves", shown::real},
         {"split_half_a", "within first", shown::real},
         {"split_half_b", "within second", shown::real}},
        {}};
    for (size_t a = 0; a < r.domains.size(); ++a) {
        for (size_t b = a + 1; b < r.domains.size(); ++b) {
            running_stats all, half, self_a, self_b;
            for (const block_specialization & s : r.blocks) {
                const auto add = [](running_stats & to, double v) {
                    if (!std::isnan(v)) {
                        to.add(v);
                    }
                };
                add(all, s.distance(a, b));
                add(half, s.half_distance(a, b));
                add(self_a, s.split_half(a));
                add(self_b, s.split_half(b));
            }
            t.rows.push_back({r.domains[a], r.domains[b], all.mean(), half.mean(), self_a.mean(), self_b.mean()});
        }
    }
    return t;
}

table layers_table(const specialization_result & r) {
    table t{"layers",
            "",
            {layer_column,
             block_column,
             {"domain_a", "domain"},
             {"domain_b", "and"},
             {"distance", "all rows", shown::real},
             {"half_distance", "halves", shown::real},
             {"split_half_a", "within first", shown::real},
             {"split_half_b", "within second", shown::real}},
            {},
            0};
    for (const block_specialization & s : r.blocks) {
        for (size_t a = 0; a < r.domains.size(); ++a) {
            for (size_t b = a + 1; b < r.domains.size(); ++b) {
                t.rows.push_back({layer_cell(s.layout), block_cell(s.layout), r.domains[a], r.domains[b],
                                  s.distance(a, b), s.half_distance(a, b), s.split_half(a), s.split_half(b)});
            }
        }
    }
    return t;
}

// How often the rows of all other domains select e.
double elsewhere(const block_specialization & s, size_t domain, size_t e) {
    uint64_t count = 0, rows = 0;
    for (size_t d = 0; d < s.domains.size(); ++d) {
        count += d == domain ? 0 : s.domains[d].count[e];
        rows += d == domain ? 0 : s.domains[d].rows;
    }
    return rows ? double(count) / double(rows) : unknown;
}

const std::vector<table_column> specialist_columns = {{"domain", "domain"},
                                                      layer_column,
                                                      block_column,
                                                      {"expert", "expert", shown::integer},
                                                      {"frequency", "of its rows", shown::percent},
                                                      {"frequency_low", "from", shown::percent},
                                                      {"frequency_high", "to (95 %)", shown::percent},
                                                      {"elsewhere", "elsewhere", shown::percent},
                                                      {"frequency_chance", "k/E", shown::percent},
                                                      {"rows", "rows", shown::integer}};

std::vector<cell> expert_row(const specialization_result & r, const block_specialization & s, size_t d, uint32_t e) {
    const domain_counts & c = s.domains[d];
    const interval        i = c.frequency_interval(e);
    return {r.domains[d], layer_cell(s.layout), block_cell(s.layout),
            whole(e),     c.frequency(e),       i.low,
            i.high,       elsewhere(s, d, e),   double(s.layout.n_expert_used) / s.layout.n_expert,
            whole(c.rows)};
}

void add_expert_tables(answer & a, const specialization_result & r, size_t top) {
    table best{"specialists",
               "Experts that a domain uses more than the others do (by the lower end of the interval)",
               specialist_columns,
               {}};
    table every{"experts", "", specialist_columns, {}, 0};
    for (size_t d = 0; d < r.domains.size(); ++d) {
        std::vector<std::pair<double, std::vector<cell>>> ranked;
        for (const block_specialization & s : r.blocks) {
            for (uint32_t e = 0; e < s.layout.n_expert; ++e) {
                every.rows.push_back(expert_row(r, s, d, e));
                const double gain = s.domains[d].frequency_interval(e).low - elsewhere(s, d, e);
                if (gain > 0) {
                    ranked.emplace_back(gain, every.rows.back());
                }
            }
        }
        std::stable_sort(ranked.begin(), ranked.end(), [](auto & x, auto & y) { return x.first > y.first; });
        for (size_t i = 0; i < std::min(top, ranked.size()); ++i) {
            best.rows.push_back(std::move(ranked[i].second));
        }
    }
    a.tables.push_back(std::move(best));
    a.tables.push_back(std::move(every));
}

// Reads all inputs; their notes go into the answer.
specialization_result read_domains(const analyze_options & o, const label_options & from, answer & a) {
    specialization s;
    one_model      same;
    const auto     labels = from.jsonl.empty() ? std::vector<std::string>() : read_label_field(from.jsonl, from.key);
    for (const std::string & path : o.traces) {
        const auto source = open_trace(o, path);
        require_rows(*source);
        same.add(path, source->model(), source->blocks());
        if (!from.jsonl.empty()) {
            s.set_labels(labels);
        } else if (o.traces.size() > 1) {
            s.set_domain(domain_name(path, o.traces));
        } else {
            s.set_labels(labels_of(*source));
        }
        feed(*source, o, {&s});
        if (!from.jsonl.empty() && s.sequences_of_source() != labels.size()) {
            throw error(fmt::format("has {} lines, but {} has {} sequences: labels would go to the wrong ones",
                                    with_commas(labels.size()), path, with_commas(s.sequences_of_source())))
                .in(from.jsonl)
                .fix("give the file that the trace was recorded from, without the lines that were skipped; "
                     "'run --label-key' keeps labels in the trace");
        }
        for (std::string & n : source_notes(*source)) {
            a.notes.push_back(std::move(n));
        }
    }
    return s.result();
}

void add_notes(answer & a, const specialization_result & r) {
    if (r.rows_without_domain > 0) {
        a.notes.push_back(with_commas(r.rows_without_domain) +
                          " rows have no label, or no known sequence, and were left out");
    }
    for (size_t d = 0; d < r.domains.size(); ++d) {
        if (r.sequences[d] == 1) {
            a.notes.push_back("'" + printable(r.domains[d]) +
                              "' is one sequence: its halves are stretches of one text, and more alike "
                              "than two texts would be");
        }
    }
}

// distances: distances_table's
void add_headline(answer & a, const specialization_result & r, const table & distances) {
    if (r.domains.size() < 2 || r.blocks.empty()) {
        a.headline.push_back(r.blocks.empty() ? nothing_selected
                                              : "There is only one domain, so there is nothing to compare.");
        return;
    }
    running_stats between, within;
    for (const auto & row : distances.rows) {
        const double apart  = std::get<double>(row[3]),
                     itself = (std::get<double>(row[4]) + std::get<double>(row[5])) / 2;
        if (!std::isnan(apart) && !std::isnan(itself)) {
            between.add(apart);
            within.add(itself);
        }
    }
    a.figures.push_back({"half_distance", between.mean()});
    a.figures.push_back({"split_half", within.mean()});
    if (between.n() == 0) {
        a.headline.push_back("Too few rows: no domain has two halves, so the distance by chance is unknown.");
        return;
    }
    a.headline.push_back(fmt::format("{}: the distance between domains is {:.3f}, between halves of one domain {:.3f}.",
                                     between.mean() > 1.5 * within.mean() ? "The domains use different experts"
                                     : between.mean() > within.mean()     ? "The domains use slightly different experts"
                                                                          : "The domains differ no more than by chance",
                                     between.mean(), within.mean()));
}

answer answer_specialization(const analyze_options & o, const label_options & from) {
    if (std::any_of(o.traces.begin(), o.traces.end(), is_profile)) {  // traces beside one are read as sums
        refuse_row_options(o);
        return answer_profile_domains(o.traces, o.top);
    }
    answer                      a;
    const specialization_result r = read_domains(o, from, a);
    a.kind                        = "specialization";
    a.figures = {{"domains", whole(r.domains.size())}, {"rows_without_domain", whole(r.rows_without_domain)}};
    a.tables  = {distances_table(r), layers_table(r)};
    add_expert_tables(a, r, o.top);
    add_notes(a, r);
    add_headline(a, r, a.tables.front());
    return a;
}

}  // namespace

void add_specialization(CLI::App & analyze) {
    auto from = std::make_shared<label_options>();
    auto kind =
        add_analysis(analyze, "specialization",
                     "whether domains use different experts: one trace per domain, or one trace of 'run --label-key'",
                     1, 0, [=](analyze_options & o) {
                         o.answer.output.inputs.push_back(from->jsonl);
                         return answer_specialization(o, *from);
                     });
    kind->add_option("--jsonl", from->jsonl, "for traces without labels: line i of this file labels sequence i")
        ->type_name("FILE");
    kind->add_option("--label-key", from->key, "the field of --jsonl that holds the label")
        ->capture_default_str()
        ->type_name("KEY");
    add_examples(*kind,
                 {{"moescope analyze specialization run.moetrace", "the domains of a run with --label-key"},
                  {"moescope analyze specialization code.moetrace prose.moetrace", "one trace for each domain"}});
}

}  // namespace moescope::cli
