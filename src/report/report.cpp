#include "report/report.hpp"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "analysis/tools/prompt_labels.hpp"
#include "core/error.hpp"
#include "core/version.hpp"
#include "io/path.hpp"
#include "logs/open.hpp"
#include "report/caches.hpp"
#include "report/collector.hpp"
#include "report/damage.hpp"
#include "report/memory.hpp"
#include "report/profile_run.hpp"
#include "report/tiles.hpp"
#include "trace/read_through.hpp"

namespace moescope::report {

namespace {

constexpr uint64_t progress_every = 1u << 14;  // tokens

}  // namespace

std::string label_of(const std::string & path) {
    const std::string name = io::base_name(path);
    for (const char * suffix : {".moetrace", ".moestats"}) {
        const size_t dot = name.rfind(suffix);
        if (dot != std::string::npos && dot > 0) {
            return name.substr(0, dot);
        }
    }
    return name;
}

namespace {

page_run read_run(trace::trace_source & source, const report_options & o, const std::string & label,
                  const cache_model & model, const report_progress & progress) {
    const graph_layout blocks = source.blocks();
    run_collector      sums(o.max_pair_cells);
    tile_builder       tile(0, tokens_that_fit(blocks, o.max_tile_bytes / o.traces.size()), blocks);
    uint64_t           shown = 0;
    sums.notes(source.info().notes);
    trace::read_through(source, {&tile, &sums}, [&](const trace::amount_read & read) {
        if (progress && read.tokens - shown >= progress_every) {
            shown = read.tokens;
            progress(label, shown);
        }
        return true;
    });
    if (const expert_counts * counts = source.stored_counts()) {
        sums.set_counts(*counts);
    }
    page_run run = sums.result();
    run.pairs    = sums.pairs();
    run.prompts  = sums.prompts();
    run.label    = label;
    run.source   = source.info();
    run.model    = source.model();
    run.text     = o.text;
    if (run.blocks.size() == blocks.size()) {
        run.tile = tile.finish(o.text ? &source : nullptr);
    }
    if (run.blocks.empty()) {
        throw error("no routed rows").in(run.source.path).fix("'moescope info' says what was recorded");
    }
    if (sums.accesses() > max_cache_accesses) {
        run.cache = too_many_accesses(sums.accesses());
    } else if (!run.source.counts_only) {
        run.cache = simulate_caches(source, model, [] { return true; });
    }
    return run;
}

void note_what_is_missing(page & p, const page_run & run) {
    const auto say = [&](const std::string & text) { p.notes.push_back(run.label + ": " + text); };
    if (run.tile.size() < run.tokens && !run.source.counts_only) {
        say(fmt::format(
            "the token view holds the first {} of {} tokens; 'moescope serve' shows all. Counts are of the whole trace.",
            run.tile.size(), run.tokens));
    }
    if (run.source.counts_only && run.source.format != "profile") {
        say("the trace holds only counts: no tokens, pairs or weights.");
    }
    if (!run.pairs.complete) {
        say("there are too many pairs of experts for one page; 'moescope serve' shows them layer by layer.");
    }
    if (run.source.lost_bytes > 0) {
        say(fmt::format("the file was cut: {} bytes at its end are missing here.", run.source.lost_bytes));
    }
    for (const std::string & n : analysis::without_prompt_labels(run.source.notes)) {
        say(n);
    }
}

}  // namespace

namespace {

// The run of o.traces[i], and what it read of the model.
void add_run(page & p, const report_options & o, size_t i, const cache_model & model,
             const report_progress & progress) {
    const std::string &      path  = o.traces[i];
    const std::string        label = i < o.labels.size() ? o.labels[i] : label_of(path);
    std::vector<access_list> lists;
    if (const auto profile = o.read_profile ? o.read_profile(path) : std::nullopt) {
        p.runs.push_back(run_of_profile(*profile, path, o.max_pair_cells));
        p.runs.back().label = label;
    } else {
        const auto source = logs::open_source(path);
        p.runs.push_back(read_run(*source, o, label, model, progress));
        lists = source->access_lists();
    }
    if (!p.memory.empty()) {
        add_accesses(p.memory, p.runs.back(), lists);
    }
}

}  // namespace

page build_page(const report_options & o, const report_progress & progress) {
    page p;
    p.generator = std::string("moescope ") + version;
    cache_model model;
    if (!o.model.empty()) {
        p.memory = read_memory(o.model);
        model    = cache_model_of(o.model);
    }
    if (!o.evaluation.empty()) {
        p.damage = read_damage(o.evaluation);
    }
    for (size_t i = 0; i < o.traces.size(); ++i) {
        add_run(p, o, i, model, progress);
        p.runs.back().number = static_cast<uint32_t>(i);
        note_what_is_missing(p, p.runs.back());
        if (!p.damage.empty() && io::base_name(p.runs.back().model.file) != p.damage.model) {
            p.notes.push_back(fmt::format("{}: the trace ran {}, the damage is that of {}.", p.runs.back().label,
                                          io::base_name(p.runs.back().model.file), p.damage.model));
        }
    }
    return p;
}

}  // namespace moescope::report
