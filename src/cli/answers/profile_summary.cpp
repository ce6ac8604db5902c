#include "cli/answers/profile_summary.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

// The fewest experts that together hold this share of a sum.
uint32_t holders(std::vector<double> mass, double share) {
    std::sort(mass.begin(), mass.end(), std::greater<>());
    double total = 0, held = 0;
    for (const double m : mass) {
        total += m;
    }
    uint32_t n = 0;
    while (n < mass.size() && held < share * total) {
        held += mass[n++];
    }
    return n;
}

std::string in_words(uint64_t rarest) {
    // The standard error of a mean over n rows is its spread over sqrt(n): 10 rows leave a third of it, 100 a tenth.
    if (rarest >= 100) {
        return "large enough to rank even the rarest experts";
    }
    return rarest >= 10 ? "large enough for most experts; the rarest are ranked on few rows"
                        : "too small: the rarest experts are ranked on fewer than 10 rows";
}

}  // namespace

layer_weight weigh(const stats::saliency_block & b) {
    layer_weight l;
    bool         any = false;
    for (uint32_t e = 0; e < b.n_expert; ++e) {
        if (b.count[e] == 0) {
            l.dead += 1;
            continue;
        }
        if (!std::isfinite(b.reap(e))) {
            l.broken += 1;
            continue;
        }
        if (!any || b.reap(e) > b.reap(l.highest)) {
            l.highest = e;
        }
        if (!any || b.reap(e) < b.reap(l.lowest)) {
            l.lowest = e;
        }
        l.rarest = any ? std::min(l.rarest, b.count[e]) : b.count[e];
        any      = true;
    }
    l.half = holders(b.gated_norm, 0.5);
    l.most = holders(b.gated_norm, 0.9);
    return l;
}

std::string corpus_verdict(const stats::moestats & s) {
    uint64_t rarest = UINT64_MAX, dead = 0, broken = 0;
    for (const stats::saliency_block * b : s.routed()) {
        const layer_weight l = weigh(*b);
        rarest               = std::min(rarest, l.rarest);
        dead += l.dead;
        broken += l.broken;
    }
    if (broken > 0) {
        return fmt::format(
            "The scores of {} experts are not finite: the model computed NaN or infinity, so nothing can be ranked.",
            with_commas(broken));
    }
    return fmt::format("The corpus is {} (rows of the rarest: {}{}).", in_words(rarest), with_commas(rarest),
                       dead > 0 ? fmt::format("; {} experts were never selected", with_commas(dead)) : "");
}

void print_profile(std::FILE * out, const stats::moestats & s) {
    fmt::print(out, "{} samples, {} tokens; REAP with {} gate weights\n\n", with_commas(s.samples()),
               with_commas(s.tokens()), stats::to_string(s.gate));
    fmt::print(out, "{:>5} {:>11} {:>5}  {:>20}  {:>20}  {:>15} {:>12}\n", "layer", "tokens", "dead", "highest REAP",
               "lowest REAP", "hold 50/90 %", "rarest rows");
    for (const stats::saliency_block * b : s.routed()) {
        const layer_weight l = weigh(*b);
        fmt::print(out, "{:>5} {:>11} {:>5}  {:>20}  {:>20}  {:>15} {:>12}\n", b->layer, with_commas(b->rows), l.dead,
                   fmt::format("{:.4g} (expert {})", b->reap(l.highest), l.highest),
                   fmt::format("{:.4g} (expert {})", b->reap(l.lowest), l.lowest),
                   fmt::format("{} / {} of {}", l.half, l.most, b->n_expert), with_commas(l.rarest));
    }
    if (!s.routed().empty()) {
        fmt::print(out, "\n{}\n", corpus_verdict(s));
    }
}

}  // namespace moescope::cli
