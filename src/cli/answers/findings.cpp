#include "cli/answers/findings.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "analysis/findings.hpp"
#include "cli/answers/shared.hpp"  // block_name
#include "cli/terminal/text.hpp"

namespace moescope::cli {

namespace {

constexpr size_t most_sentences = 3;

std::string leans_sentence(const analysis::leaning & l) {
    return fmt::format(
        "Layer {} leans on expert {}: {:.1f} times its fair share, where random routing stays below {:.1f} "
        "(analyze frequency).",
        block_name(l.layout), l.expert, l.vs_balance, l.limit);
}

}  // namespace

std::vector<std::string> finding_sentences(const analysis::summary_result & s) {
    const analysis::findings f = analysis::find(s);
    std::vector<std::string> out;
    if (f.leans) {
        out.push_back(leans_sentence(*f.leans));
    }
    if (f.never_used) {
        out.push_back(fmt::format("{} of {} experts were never used; random routing would leave out {:.1f} (analyze "
                                  "frequency).",
                                  with_commas(static_cast<uint64_t>(f.never_used->measured)),
                                  with_commas(s.frequency.n_experts()), f.never_used->chance));
    }
    if (f.lru) {
        out.push_back(fmt::format("A cache pays off: with room for a quarter of the experts, LRU serves {:.0f} % of "
                                  "the reads while decoding, with random routing {:.0f} % (analyze cache).",
                                  100 * f.lru->measured, 100 * f.lru->chance));
    }
    if (f.repeats) {
        out.push_back(fmt::format("Neighbouring tokens share {:.0f} % of their experts, any two tokens {:.0f} % "
                                  "(analyze temporal).",
                                  100 * f.repeats->measured, 100 * f.repeats->chance));
    }
    if (f.phases) {
        out.push_back(fmt::format("Prefill and decode use different experts: their distance is {:.2f}, that of one "
                                  "routing with itself {:.2f} (stats --csv --table phases).",
                                  f.phases->measured, f.phases->chance));
    }
    out.resize(std::min(out.size(), most_sentences));
    return out;
}

}  // namespace moescope::cli
