#include "cli/answers/summary.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>

#include <fmt/format.h>

#include "cli/answers/findings.hpp"
#include "cli/answers/heatmap.hpp"
#include "cli/answers/shared.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "io/path.hpp"
#include "logs/open.hpp"
#include "trace/read_through.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

constexpr size_t label_width = 11;

std::string model_line(const model_info & m) {
    std::string line = printable(m.name.empty() ? m.architecture : m.name);
    if (!m.name.empty() && !m.architecture.empty()) {
        line += " (" + printable(m.architecture) + ")";
    }
    if (!m.file.empty()) {
        line += (line.empty() ? "" : ", ") + printable(io::base_name(m.file));
    }
    return line.empty() ? "unknown" : line;
}

std::string range_of(const frequency_result & r, uint32_t block_layout::*field) {
    uint32_t low = UINT32_MAX, high = 0;
    for (const block_frequency & b : r.blocks) {
        low  = std::min(low, b.layout.*field);
        high = std::max(high, b.layout.*field);
    }
    return low == high ? std::to_string(low) : fmt::format("{} to {}", low, high);
}

// What recording took of the time in which the program computed: a server idles most of its day.
std::string capture_line(const trace::trace_info & info) {
    if (info.run_ns == 0) {
        return "";
    }
    const auto        seconds = [](uint64_t ns) { return human_duration(double(ns) / 1e9); };
    const std::string took =
        info.compute_ns > 0
            ? fmt::format("{:.2f} % of {} of computing", 100.0 * double(info.capture_ns) / double(info.compute_ns),
                          seconds(info.compute_ns))
            : seconds(info.capture_ns);
    return fmt::format("capture    took {}; the run took {}{}\n", took, seconds(info.run_ns),
                       info.bytes > 0 ? ", the trace " + human_bytes(info.bytes) : "");
}

// What was computed and is no text, and what was text and went. n_tokens: that are counted.
std::string removal_lines(const trace::trace_info & info, uint64_t n_tokens) {
    std::string out;
    if (info.taken_back > 0) {
        const uint64_t computed = n_tokens + (info.taken_back_included ? 0 : info.taken_back);
        out += fmt::format("drafts     {} rejected, {:.1f} % of all that was computed; {}\n",
                           counted(info.taken_back, "token"), 100.0 * double(info.taken_back) / double(computed),
                           info.taken_back_included ? "counted here" : "not counted here");
    }
    const auto & cut     = info.removed[static_cast<size_t>(memory_event::removal::cut)];
    const auto & discard = info.removed[static_cast<size_t>(memory_event::removal::discard)];
    if (cut.positions > 0) {
        out += fmt::format("cut        {} at the end of a text, in {}: edited, begun anew or cancelled\n",
                           counted(cut.positions, "token"), counted(cut.times, "step"));
    }
    if (discard.positions > 0) {
        out += fmt::format("discarded  {} inside a text, in {}, to make room\n", counted(discard.positions, "token"),
                           counted(discard.times, "step"));
    }
    return out;
}

std::string size_lines(const trace::trace_info & info, const frequency_result & r) {
    std::string out;
    if (r.tokens > 0) {  // 0: counts of another engine, which do not say
        out += fmt::format("tokens     {} ({} prefilled, {} decoded) in {} ubatches\n", with_commas(r.tokens),
                           with_commas(r.tokens - std::min(r.tokens, r.decoded)), with_commas(r.decoded),
                           with_commas(r.ubatches));
    }
    const std::string k = range_of(r, &block_layout::n_expert_used);
    out += fmt::format("experts    {} MoE layer{} of {} experts{}; {} selections\n", r.blocks.size(),
                       r.blocks.size() == 1 ? "" : "s", range_of(r, &block_layout::n_expert),
                       k == "0" ? std::string() : ", top-" + k, with_commas(r.selections()));
    return out + removal_lines(info, r.tokens) + capture_line(info);
}

// "12/5 2.31x": layer, expert, share against 1/E.
std::string ends_lines(const frequency_result & r, size_t top, int width) {
    struct place {
        std::string name;
        double      vs_balance;
    };
    std::vector<place> all;
    for (const block_frequency & b : r.blocks) {
        for (uint32_t e = 0; e < b.layout.n_expert && b.measured.selections > 0; ++e) {
            all.push_back({fmt::format("{}/{}", block_name(b.layout), e), b.share(e) * b.layout.n_expert});
        }
    }
    std::vector<place> rising = all;
    std::stable_sort(all.begin(), all.end(),
                     [](const place & a, const place & b) { return a.vs_balance > b.vs_balance; });
    std::stable_sort(rising.begin(), rising.end(),
                     [](const place & a, const place & b) { return a.vs_balance < b.vs_balance; });
    const auto line = [&](const char * title, const std::vector<place> & from) {
        std::string out = title;
        for (size_t i = 0; i < std::min(top, all.size()); ++i) {
            const place &     p    = from[i];
            const std::string item = fmt::format("{} {:.2f}x", p.name, p.vs_balance);
            if (out.size() + item.size() + 3 > static_cast<size_t>(width)) {
                break;
            }
            out += (i ? "   " : "") + item;
        }
        return out + '\n';
    };
    return line("most used  ", all) + line("least used ", rising);
}

std::string insight_lines(const summary_result & s) {
    const frequency_result & r = s.frequency;
    double entropy = 0, entropy_chance = 0, max_vio = 0, max_vio_chance = 0, held = 0, held_chance = 0, dead_chance = 0,
           n = 0;
    for (const block_frequency & b : r.blocks) {
        if (b.measured.selections == 0) {
            continue;
        }
        n += 1;
        entropy += b.measured.entropy;
        entropy_chance += b.chance.mean.entropy;
        max_vio += b.measured.max_vio;
        max_vio_chance += b.chance.mean.max_vio;
        held += b.measured.coverage[2];
        held_chance += b.chance.mean.coverage[2];
        dead_chance += b.chance.mean.dead;
    }
    const double experts = static_cast<double>(r.n_experts());
    // What chance gives is not known of counts without their rows.
    const auto random = [](const char * text, double chance) {
        return std::isnan(chance) ? std::string() : fmt::format(fmt::runtime(text), chance);
    };
    std::string out =
        fmt::format("balance    normalised entropy {:.3f}{}, busiest expert {:.1f}x its balanced share{}\n",
                    entropy / n, random(" (random routing {:.3f})", entropy_chance / n), 1 + max_vio / n,
                    random(" (random {:.1f}x)", 1 + max_vio_chance / n));
    out += fmt::format("spread     90 % of the selections go to {:.0f} % of the experts{}; {} of {} never used{}\n",
                       100 * held / experts, random(" (random {:.0f} %)", 100 * held_chance / experts),
                       with_commas(r.n_dead()), with_commas(r.n_experts()), random(" (random {:.1f})", dead_chance));
    if (!std::isnan(s.overlap_next)) {
        out += fmt::format(
            "repeats    a token shares {:.1f} % of its experts with the previous one (any two tokens {:.1f} %)\n",
            100 * s.overlap_next, 100 * s.overlap_by_popularity);
    }
    if (!std::isnan(s.lru_hits)) {
        out += fmt::format(
            "cache      LRU with a quarter of each layer's experts serves {:.1f} % of the reads while decoding "
            "(random routing {:.0f} %)\n",
            100 * s.lru_hits, 100 * s.lru_hits_chance);
    }
    if (!std::isnan(s.phase_distance)) {
        out += fmt::format(
            "phases     distance between prefill and decode {:.3f} (same routing {:.3f}); 0 is identical, 1 disjoint\n",
            s.phase_distance, s.phase_distance_chance);
    }
    return out;
}

// What stands out, first.
std::string stands_out_lines(const summary_result & s) {
    std::string out;
    for (const std::string & sentence : finding_sentences(s)) {
        out += (out.empty() ? "stands out " : std::string(label_width, ' ')) + sentence + '\n';
    }
    return out;
}

std::string model_of(const trace::trace_source & source) {
    return "model      " + model_line(source.model()) + '\n';
}

std::string warning_lines(const frequency_result & r) {
    return r.invalid_ids == 0 ? ""
                              : fmt::format("warning    {} ids are not experts of their layer: run moescope check\n",
                                            with_commas(r.invalid_ids));
}

std::string wrapped_lines(const std::string & lines, int width) {
    std::istringstream in(lines);
    std::string        out;
    for (std::string line; std::getline(in, line);) {
        out += wrapped(line, static_cast<size_t>(width), std::string(label_width, ' '));
    }
    return out;
}

}  // namespace

summary_options summary_options_for(std::FILE * stream) {
    return {terminal_width(stream), terminal_height(stream), wants_color(stream), is_terminal(stream)};
}

std::string summary_text(trace::trace_source & source, const summary_options & o) {
    summary_result r;
    if (source.stored_counts() != nullptr) {
        r = summary_of(*source.stored_counts());
    } else {
        summary gather;
        trace::read_through(source, {&gather});
        r = gather.result();
    }
    const bool  empty = r.frequency.blocks.empty() || r.frequency.selections() == 0;
    std::string lines =
        empty ? model_of(source) + "empty      no expert was selected: the model has none, or nothing ran\n"
              : stands_out_lines(r) + model_of(source) + size_lines(source.info(), r.frequency) + insight_lines(r) +
                    ends_lines(r.frequency, o.top, o.width) + warning_lines(r.frequency);
    for (const std::string & note : source_notes(source)) {
        lines += "note       " + note + '\n';
    }
    const std::string text = wrapped_lines(lines, o.width);
    if (empty || !o.heatmap) {
        return text;
    }
    // What is read first stands where the eye is when the program ends; a line is left for the prompt.
    const auto n_lines = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
    return heatmap_text(r.frequency, {o.width, o.height > 0 ? std::max(1, o.height - n_lines - 1) : 0, o.color}) + text;
}

std::string summary_text(const std::string & trace_path, const summary_options & o) {
    return summary_text(*logs::open_source(trace_path), o);
}

}  // namespace moescope::cli
