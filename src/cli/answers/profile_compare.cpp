// analyze specialization and analyze compare on profiles, which have counts by label and sums, but no rows.

#include <algorithm>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "analysis/tools/distance.hpp"
#include "analysis/tools/interval.hpp"
#include "analysis/tools/running_stats.hpp"
#include "cli/answers/profile_files.hpp"
#include "cli/answers/profile_tables.hpp"
#include "cli/answers/same_model.hpp"
#include "cli/answers/shared.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"
#include "io/path.hpp"

namespace moescope::cli {

namespace {

using analysis::running_stats;
using stats::saliency_block;

// A domain's counts by layer.
struct profile_domain {
    std::string                              name;
    std::map<int32_t, uint64_t>              rows;
    std::map<int32_t, std::vector<uint64_t>> count;  // [n_expert]
};

class domain_list {
public:
    void add(const std::string & name, int32_t layer, uint64_t rows, const uint64_t * count, uint32_t n_expert) {
        auto it = std::find_if(domains.begin(), domains.end(), [&](auto & d) { return d.name == name; });
        it      = it != domains.end() ? it : domains.insert(domains.end(), {name, {}, {}});
        std::vector<uint64_t> & to = it->count[layer];
        to.resize(n_expert);
        for (uint32_t e = 0; e < n_expert; ++e) {
            to[e] += count[e];
        }
        it->rows[layer] += rows;
    }
    std::vector<profile_domain> domains;
};

void add_profile_domains(domain_list & list, const stats::moestats & s, const std::string & name) {
    for (const saliency_block * b : s.routed()) {
        if (s.labels.empty()) {
            list.add(name, b->layer, b->rows, b->count.data(), b->n_expert);
        }
        for (size_t l = 0; l < b->label_rows.size(); ++l) {
            list.add(s.labels[l], b->layer, b->label_rows[l], &b->label_count[l * b->n_expert], b->n_expert);
        }
    }
}

struct domain_pair {
    running_stats distance, chance;  // over layers
};

domain_pair hold_together(const profile_domain & a, const profile_domain & b, const std::map<int32_t, uint32_t> & k) {
    domain_pair p;
    for (const auto & [layer, count] : a.count) {
        const auto other = b.count.find(layer);
        if (other == b.count.end()) {
            continue;
        }
        const double d = analysis::jensen_shannon(count, other->second);
        if (!std::isnan(d)) {
            p.distance.add(d);
            p.chance.add(analysis::jensen_shannon_by_chance(count, other->second, k.at(layer)));
        }
    }
    return p;
}

// Experts that a domain uses more than the others do, by the facing ends of the 95 % intervals.
table specialists_of(const std::vector<profile_domain> & domains, size_t top) {
    struct specialist {
        double            gap;
        std::vector<cell> row;
    };
    std::vector<specialist> found;
    for (const profile_domain & d : domains) {
        for (const auto & [layer, count] : d.count) {
            uint64_t rows = 0;
            for (const profile_domain & o : domains) {
                rows += &o != &d && o.rows.count(layer) ? o.rows.at(layer) : 0;
            }
            for (size_t e = 0; e < count.size() && rows > 0; ++e) {
                uint64_t others = 0;
                for (const profile_domain & o : domains) {
                    others += &o != &d && o.count.count(layer) ? o.count.at(layer)[e] : 0;
                }
                const double gap =
                    analysis::wilson(count[e], d.rows.at(layer)).low - analysis::wilson(others, rows).high;
                if (gap > 0) {
                    found.push_back({gap,
                                     {d.name, int64_t{layer}, whole(e), double(count[e]) / double(d.rows.at(layer)),
                                      double(others) / double(rows)}});
                }
            }
        }
    }
    std::stable_sort(found.begin(), found.end(), [](auto & a, auto & b) { return a.gap > b.gap; });
    table t{"specialists",
            "Experts that a domain uses more than the others do (by the facing ends of the intervals)",
            {{"domain", "domain"},
             layer_column,
             {"expert", "expert", shown::integer},
             {"frequency", "of its rows", shown::percent},
             {"frequency_others", "of the others'", shown::percent}},
            {},
            top};
    for (specialist & s : found) {
        t.rows.push_back(std::move(s.row));
    }
    return t;
}

// Ranks for the rank correlation, which takes counts: equal values get equal ones.
std::vector<uint64_t> dense_ranks(const std::vector<double> & values) {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    std::vector<uint64_t> ranks;
    for (const double v : values) {
        ranks.push_back(static_cast<uint64_t>(std::lower_bound(sorted.begin(), sorted.end(), v) - sorted.begin()));
    }
    return ranks;
}

std::vector<double> reap_of(const saliency_block & b) {
    std::vector<double> reap;
    for (uint32_t e = 0; e < b.n_expert; ++e) {
        reap.push_back(b.reap(e));
    }
    return reap;
}

// The share of the best half by REAP that both have; of equal scores the lower id is the better.
double half_in_common(const saliency_block & a, const saliency_block & b) {
    const auto best = [](const saliency_block & s) {
        const std::vector<double> reap = reap_of(s);
        std::vector<uint32_t>     ids(s.n_expert);
        std::iota(ids.begin(), ids.end(), 0u);
        std::stable_sort(ids.begin(), ids.end(), [&](uint32_t x, uint32_t y) { return reap[x] > reap[y]; });
        ids.resize((s.n_expert + 1) / 2);
        std::sort(ids.begin(), ids.end());
        return ids;
    };
    const std::vector<uint32_t> x = best(a), y = best(b);
    std::vector<uint32_t>       both;
    std::set_intersection(x.begin(), x.end(), y.begin(), y.end(), std::back_inserter(both));
    return double(both.size()) / double(x.size());
}

std::string name_of_file(const std::string & path) {
    std::string name = io::base_name(path);
    for (const char * suffix : {".moestats", ".moetrace", ".json"}) {
        name = io::without_suffix(name, suffix);
    }
    return name;
}

// Of a profile, or of a trace beside one.
stats::moestats read_sums_of(const std::string & path) {
    return is_trace(path) ? read_profile_or_trace(path) : read_profile(path);
}

}  // namespace

answer answer_profile_domains(const std::vector<std::string> & paths, size_t top) {
    domain_list                 list;
    one_model                   same;
    std::map<int32_t, uint32_t> k;
    for (const std::string & path : paths) {
        const stats::moestats s = read_counts_or_more(path);
        same.add(path, s.model, counts_of(s).layout);
        add_profile_domains(list, s, name_of_file(path));
        for (const saliency_block * b : s.routed()) {
            k[b->layer] = b->n_expert_used;
        }
    }
    if (list.domains.size() < 2) {
        throw usage_error("specialization needs two domains: a profile of 'profile --label-key', or several profiles");
    }
    answer a;
    a.kind = "specialization";
    table t{
        "distances",
        "Jensen-Shannon distance of domains (0: identical, 1: disjoint), mean over layers; same routing: of as many rows "
        "of one routing, which is chance",
        {{"domain_a", "domain"},
         {"domain_b", "and"},
         {"distance", "distance", shown::real},
         {"distance_chance", "same routing", shown::real}},
        {}};
    running_stats distance, chance;
    for (size_t i = 0; i < list.domains.size(); ++i) {
        for (size_t j = i + 1; j < list.domains.size(); ++j) {
            const domain_pair p = hold_together(list.domains[i], list.domains[j], k);
            t.rows.push_back({list.domains[i].name, list.domains[j].name, p.distance.mean(), p.chance.mean()});
            if (p.distance.n() > 0) {
                distance.add(p.distance.mean());
                chance.add(p.chance.mean());
            }
        }
    }
    a.figures = {
        {"domains", whole(list.domains.size())}, {"distance", distance.mean()}, {"distance_chance", chance.mean()}};
    a.headline.push_back(
        distance.n() == 0
            ? std::string(nothing_selected)
            : fmt::format("{}: the distance between domains is {:.3f}, that of one routing with itself {:.3f}.",
                          distance.mean() > 1.5 * chance.mean() ? "The domains use different experts"
                          : distance.mean() > chance.mean()     ? "The domains use slightly different experts"
                                                                : "The domains differ no more than by chance",
                          distance.mean(), chance.mean()));
    a.tables = {std::move(t), specialists_of(list.domains, top)};
    a.notes.push_back(
        "chance takes rows as independent; in a text they depend on each other, so it is somewhat too low");
    return a;
}

answer answer_profile_compare(const std::string & first, const std::string & second) {
    const stats::moestats x = read_sums_of(first), y = read_sums_of(second);
    if (const std::string why = why_unrelated(x.model, y.model); !why.empty()) {
        throw error("it is a profile of another model than " + first + " (" + why + ")").in(second);
    }
    answer a;
    a.kind = "compare";
    table t{
        "layers",
        "Selections and REAP of the two, layer by layer; best half: experts that both would keep of the better half by "
        "REAP, where chance is 50 %",
        {layer_column,
         {"rows_a", "rows", shown::integer},
         {"rows_b", "and", shown::integer},
         {"distance", "JS distance", shown::real},
         {"distance_chance", "same routing", shown::real},
         {"rank_correlation", "rank corr.", shown::real},
         {"reap_rank_correlation", "of REAP", shown::real},
         {"best_half", "best half", shown::percent}},
        {},
        SIZE_MAX};
    running_stats distance, chance, half;
    for (const saliency_block * b : x.routed()) {
        for (const saliency_block * c : y.routed()) {
            if (b->layer != c->layer || b->n_expert != c->n_expert) {
                continue;
            }
            const double d    = analysis::jensen_shannon(b->count, c->count);
            const double same = analysis::jensen_shannon_by_chance(b->count, c->count, b->n_expert_used);
            const double both = half_in_common(*b, *c);
            t.rows.push_back({int64_t{b->layer}, whole(b->rows), whole(c->rows), d, same,
                              analysis::rank_correlation(b->count, c->count),
                              analysis::rank_correlation(dense_ranks(reap_of(*b)), dense_ranks(reap_of(*c))), both});
            half.add(both);
            if (!std::isnan(d)) {
                distance.add(d);
                chance.add(same);
            }
        }
    }
    a.figures = {{"distance", distance.mean()}, {"distance_chance", chance.mean()}, {"best_half", half.mean()}};
    a.headline.push_back(
        half.n() == 0
            ? "No layer has the same number of experts in both."
            : fmt::format(
                  "The profiles would keep {:.0f} % of the better half in common (chance: 50 %); the distance of "
                  "their selections is {:.3f}, that of one routing with itself {:.3f}.",
                  100 * half.mean(), distance.mean(), chance.mean()));
    a.tables = {std::move(t)};
    return a;
}

}  // namespace moescope::cli
