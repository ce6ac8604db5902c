#include "evaluate/damage_sums.hpp"

#include <cmath>

#include "analysis/tools/bootstrap.hpp"

namespace moescope::evaluate {

namespace {

// How one figure comes of sums: part(sums) summed over whole(sums) summed.
using part_of = double (*)(const damage_sums &);

std::vector<double> column(const std::vector<damage_sums> & units, part_of part) {
    std::vector<double> values;
    values.reserve(units.size());
    for (const damage_sums & u : units) {
        values.push_back(part(u));
    }
    return values;
}

double ratio(double part, double whole) {
    return whole > 0 ? part / whole : analysis::unknown;
}

}  // namespace

void damage_sums::add(const row_score & s) {
    tokens += 1;
    nll_full += s.nll_full;
    nll_changed += s.nll_changed;
    kl += s.kl;
    same_top += s.same_top ? 1 : 0;
    top5 += s.n_top5;
}

damage_sums & damage_sums::operator+=(const damage_sums & o) {
    std::array<double, n>       mine  = values();
    const std::array<double, n> other = o.values();
    for (size_t i = 0; i < n; ++i) {
        mine[i] += other[i];
    }
    return *this = of(mine);
}

damage summarize(const std::vector<damage_sums> & units) {
    constexpr double         bits_per_nat = 1.4426950408889634;  // 1 / ln 2
    static constexpr part_of parts[]      = {
             [](const damage_sums & u) { return u.nll_full * bits_per_nat; },
             [](const damage_sums & u) { return u.nll_changed * bits_per_nat; },
             [](const damage_sums & u) { return u.nll_changed - u.nll_full; },
             [](const damage_sums & u) { return u.kl; },
             [](const damage_sums & u) { return u.same_top; },
             [](const damage_sums & u) { return u.top5 / double{n_best}; },
    };
    damage      d;
    estimate *  figures[] = {&d.bits_full, &d.bits_changed, &d.delta_nll, &d.kl, &d.same_top, &d.top5};
    damage_sums all;
    for (const damage_sums & u : units) {
        all += u;
    }
    d.tokens = static_cast<uint64_t>(all.tokens);

    std::vector<std::vector<double>> columns;
    for (const part_of part : parts) {
        columns.push_back(column(units, part));
    }
    const std::vector<double>             tokens = column(units, [](const damage_sums & u) { return u.tokens; });
    const std::vector<analysis::interval> ranges = analysis::bootstrap_ratios(columns, tokens);
    for (size_t i = 0; i < std::size(figures); ++i) {
        *figures[i] = {ratio(parts[i](all), all.tokens), ranges[i]};
    }
    d.displaced.value = ratio(all.displaced, all.selections);
    d.displaced.range = analysis::bootstrap_ratio(column(units, [](const damage_sums & u) { return u.displaced; }),
                                                  column(units, [](const damage_sums & u) { return u.selections; }));
    return d;
}

}  // namespace moescope::evaluate
