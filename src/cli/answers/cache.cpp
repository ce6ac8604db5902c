// moescope analyze cache: how many expert reads a cache would hold, under which policy.

#include <algorithm>
#include <cmath>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "analysis/cache_study.hpp"
#include "analysis/cache_verdict.hpp"
#include "analysis/tools/model_sizes.hpp"
#include "cli/answers/eviction_trace.hpp"
#include "cli/answers/same_model.hpp"
#include "cli/answers/shared.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"

namespace moescope::cli {

namespace {

using namespace analysis;

struct cache_options {
    std::vector<uint32_t> slots;      // per layer
    std::string           bytes;      // of all slots together, with a suffix
    std::string           model;      // GGUF
    std::string           bandwidth;  // bytes per second, with a suffix
    std::string           evictions;  // file for every access and what it drove out; empty: not asked for
    bool                  global = false;
    bool                  all    = false;  // prefill, too
    bool                  belady = false;  // whatever it needs
};

uint64_t one_slot_each(const cache_study & study, const expert_sizes & sizes) {
    uint64_t bytes = 0;
    for (size_t b = 0; b < study.counts().blocks().size(); ++b) {
        bytes += sizes.of(study.counts().blocks()[b].layout);
    }
    return bytes;
}

// Slots per layer that a budget of bytes holds.
uint32_t slots_of_bytes(const cache_options & o, const cache_study & study, const expert_sizes & sizes) {
    return static_cast<uint32_t>(
        std::min<uint64_t>(parse_bytes(o.bytes, "--bytes") / one_slot_each(study, sizes), study.most_experts()));
}

std::vector<uint32_t> slots_to_try(const cache_options & o, const cache_study & study, const expert_sizes & sizes) {
    if (!o.bytes.empty()) {
        return {slots_of_bytes(o, study, sizes)};
    }
    const uint32_t n = study.most_experts();
    for (const uint32_t given : o.slots) {
        if (given > n) {
            throw usage_error(fmt::format("--slots {}: a layer has only {} experts", given, n));
        }
    }
    if (!o.slots.empty()) {
        return distinct(o.slots);
    }
    std::vector<uint32_t> slots;
    for (const uint32_t eighths : {1u, 2u, 4u, 6u}) {
        slots.push_back(std::max(1u, n * eighths / 8));
    }
    slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
    return slots;
}

table scores_table(const cache_result & r, uint32_t n_expert, double bandwidth) {
    table      t{"policies",
            "Reads that hit, not counting the first (cold) read of each slice; 'random' evicts by chance",
            {{"slots", "slots/layer", shown::integer},
                  {"policy", "policy"},
                  {"hit_rate", "hits", shown::percent},
                  {"hit_rate_low", "from", shown::percent},
                  {"hit_rate_high", "to (95 %)", shown::percent},
                  {"slots_share", "slots/E", shown::percent},
                  {"accesses", "reads", shown::integer},
                  {"cold", "cold", shown::integer},
                  {"cold_hits", "", shown::integer}},
            {}};
    const bool sizes = r.mean_slice_bytes > 0;
    t.columns.push_back({"bytes_per_token", sizes ? "missed/token" : "", shown::bytes});
    t.columns.push_back({"tokens_per_second_ceiling", sizes && bandwidth > 0 ? "tokens/s at most" : "", shown::real});
    t.columns.push_back({"source", ""});
    for (const cache_score & s : r.scores) {
        const interval i         = s.hit_rate_interval();
        const double   per_token = sizes && r.tokens > 0 ? s.bytes_missed / double(r.tokens) : unknown;
        t.rows.push_back({whole(s.slots), std::string(to_string(s.policy)), s.hit_rate(), i.low, i.high,
                          r.chance(std::min(s.slots, n_expert), n_expert), whole(s.accesses), whole(s.cold),
                          whole(s.cold_hits), per_token,
                          bandwidth > 0 && per_token > 0 ? bandwidth / per_token : unknown,
                          std::string(source_of(s.policy))});
    }
    return t;
}

// The best of the policies that could be built, against all others, over the same sequences.
void add_winner(answer & a, const cache_result & r, uint32_t slots) {
    const policy_ranking ranking = rank_policies(r, slots);
    const cache_score &  best = *ranking.scores[0], &next = *ranking.scores[1];
    const interval &     lead = ranking.lead[1];
    if (std::isnan(best.hit_rate())) {
        a.headline.push_back("Every read is the first of its slice: the trace is too short to judge a cache.");
        return;
    }
    const auto  optimum = std::find_if(r.scores.begin(), r.scores.end(), [&](const cache_score & s) {
        return s.slots == slots && s.policy == cache_policy::optimum;
    });
    std::string above =
        optimum == r.scores.end() ? "" : fmt::format(" (Belady's optimum: {:.1f} %)", 100 * optimum->hit_rate());
    a.headline.push_back(fmt::format(
        "With {} slots per layer, {} serves {:.1f} % of the reads{}; {} by {:.2f} points ({}).", slots,
        to_string(best.policy), 100 * best.hit_rate(), above,
        ranking.first_is_sure() ? fmt::format("it beats {}, the next best,", to_string(next.policy))
                                : fmt::format("it may not be the best: it leads {}", to_string(next.policy)),
        100 * (best.hit_rate() - next.hit_rate()),
        std::isnan(lead.low) ? "too few sequences for an interval"
                             : fmt::format("95 %: {:.2f} to {:.2f}", 100 * lead.low, 100 * lead.high)));
    a.figures.push_back({"winner", std::string(to_string(best.policy))});
    a.figures.push_back({"winner_slots", whole(slots)});
    a.figures.push_back({"winner_is_sure", int64_t{ranking.first_is_sure()}});
}

// Whether a list of hot experts that was made once is of any use.
void add_skew(answer & a, const cache_result & r, uint32_t slots, uint32_t n_expert) {
    const static_skew skew = skew_of(r, slots, n_expert);
    if (std::isnan(skew.range.low)) {
        return;  // nothing to judge it on
    }
    const std::string holds =
        fmt::format("A list of the {} hottest experts per layer, learned on one half, serves {:.1f} % of the other "
                    "half's reads (95 %: {:.1f} to {:.1f}; chance {:.1f} %)",
                    slots, 100 * skew.hit_rate, 100 * skew.range.low, 100 * skew.range.high, 100 * skew.chance);
    const char * verdict = skew.is_best()    ? "it serves more than LRU, so pin these experts."
                           : skew.is_there() ? "some experts stay hot, but LRU serves as many or more."
                                             : "no experts stay hot enough to pin.";
    a.headline.push_back(holds + ": " + verdict);
    a.figures.push_back({"static_hit_rate", skew.hit_rate});
    a.figures.push_back({"static_lead_over_lru_low", skew.lead.low});
    a.figures.push_back({"static_lead_over_lru_high", skew.lead.high});
}

std::string ceiling_text(double tokens_per_second) {
    return tokens_per_second < 100 ? fmt::format("{:.1f}", tokens_per_second)
                                   : with_commas(static_cast<uint64_t>(std::llround(tokens_per_second)));
}

// The ceiling that reading missed experts sets, with the cache and without.
void add_speed_advice(answer & a, const cache_result & r, const policy_ranking & ranking, double bandwidth) {
    const cache_score & best = *ranking.scores[0];
    if (bandwidth <= 0 || r.mean_slice_bytes <= 0 || r.tokens == 0 || best.bytes_missed <= 0) {
        return;
    }
    const double tokens = static_cast<double>(r.tokens), all = double(best.accesses) * r.mean_slice_bytes;
    a.headline.push_back(
        fmt::format("At {}/s, reading missed experts allows at most {} tokens/s with it and {} without a cache.",
                    human_bytes(static_cast<uint64_t>(bandwidth)), ceiling_text(bandwidth * tokens / best.bytes_missed),
                    ceiling_text(bandwidth * tokens / all)));
}

// How far each policy stays behind the best of its number of slots.
table ranking_table(const cache_result & r, const std::vector<uint32_t> & slots) {
    table t{"ranking",
            "Behind the best policy, in points of hit rate; the 95 % intervals hold for all policies at once",
            {{"slots", "slots/layer", shown::integer},
             {"policy", "policy"},
             {"behind", "behind the best", shown::percent},
             {"behind_low", "from", shown::percent},
             {"behind_high", "to (95 %)", shown::percent}},
            {}};
    for (const uint32_t n : slots) {
        const policy_ranking ranking = rank_policies(r, n);
        for (size_t i = 0; i < ranking.scores.size(); ++i) {
            t.rows.push_back({whole(n), std::string(to_string(ranking.scores[i]->policy)),
                              ranking.scores[0]->hit_rate() - ranking.scores[i]->hit_rate(), ranking.lead[i].low,
                              ranking.lead[i].high});
        }
    }
    return t;
}

void add_notes(answer & a, const cache_result & r, const std::optional<phase> & only, const cache_options & c) {
    a.notes.push_back(fmt::format("{} ubatches with {} tokens ({}); a read is one ubatch that needs a slice",
                                  with_commas(r.ubatches), with_commas(r.tokens),
                                  !only                    ? "all"
                                  : *only == phase::decode ? "decoded tokens only"
                                                           : "prefilled tokens only"));
    a.notes.push_back(
        r.units_are_sequences
            ? fmt::format("intervals come from resampling {} sequences", with_commas(r.units))
            : "one sequence: intervals come from resampling stretches of 64 ubatches, and are too narrow if "
              "stretches depend on each other");
    a.notes.push_back("each half of the trace starts with an empty cache; static holds what the other half used most");
    if (!c.bandwidth.empty() && r.mean_slice_bytes > 0) {
        a.notes.push_back(
            "tokens/s at most: the bandwidth divided by the bytes of missed experts; all other work comes on top");
    }
    if (!c.bandwidth.empty() && r.mean_slice_bytes == 0) {
        a.notes.push_back(
            "--bandwidth needs the sizes of experts, and the model's file is not where the trace says: give --model");
    }
}

// Where --bytes leaves nothing to decide: not even a slot for each layer fits, or every expert does.
bool add_fit(answer & a, const cache_options & c, const cache_study & study, const cache_plan & plan) {
    if (c.bytes.empty()) {
        return false;
    }
    const uint64_t bytes = parse_bytes(c.bytes, "--bytes"), each = one_slot_each(study, plan.sizes),
                   all = each * study.most_experts();
    if (bytes < each) {
        a.headline.push_back(fmt::format("{} is too little for one expert per layer: that takes {}, {} more.",
                                         human_bytes(bytes), human_bytes(each), human_bytes(each - bytes)));
    } else if (bytes >= all) {
        a.headline.push_back(
            fmt::format("All experts fit, with {} to spare: there is nothing to evict.", human_bytes(bytes - all)));
    }
    return bytes < each || bytes >= all;
}

// What is to be simulated of the reads that `study` holds.
cache_plan plan_of(const cache_options & c, const trace::trace_source & source, const cache_study & study) {
    cache_plan plan;
    plan.global = c.global;
    if (!c.model.empty()) {
        plan.sizes = read_expert_sizes(c.model);
        require_fit(source, plan.sizes, c.model);
    }
    const uint64_t optimum_bytes = cache::optimum_bytes(study.counts().accesses());
    plan.slots                   = slots_to_try(c, study, plan.sizes);
    plan.optimum                 = c.belady || optimum_bytes <= cache_study::optimum_memory;
    if (plan.optimum && optimum_bytes > cache_study::optimum_memory) {
        note("Belady's optimum needs up to " + human_bytes(optimum_bytes) + " of memory");
    }
    return plan;
}

void add_result(answer & a, const cache_options & c, cache_study & study, const cache_plan & plan,
                const output_options & eviction_output) {
    const cache_result r =
        c.evictions.empty() ? study.simulate({plan}).front() : simulate_with_evictions(study, plan, eviction_output);
    const double bandwidth = c.bandwidth.empty() ? 0 : double(parse_bytes(c.bandwidth, "--bandwidth"));
    a.figures              = {{"tokens", whole(r.tokens)},
                              {"ubatches", whole(r.ubatches)},
                              {"slices", whole(r.n_slices)},
                              {"mean_slice_bytes", r.mean_slice_bytes},
                              {"global", int64_t{c.global}}};
    const uint32_t middle  = plan.slots[plan.slots.size() / 2];
    const bool     decided = add_fit(a, c, study, plan);
    if (!decided) {
        add_winner(a, r, middle);
        add_skew(a, r, middle, study.most_experts());
    }
    if (middle > 0) {
        add_speed_advice(a, r, rank_policies(r, middle), bandwidth);
    }
    a.tables.push_back(scores_table(r, study.most_experts(), bandwidth));
    a.tables.push_back(ranking_table(r, plan.slots));
    add_notes(a, r, study.rows().only, c);
    if (!plan.optimum) {
        a.notes.push_back(
            fmt::format("Belady's optimum was left out: it needs {} of memory here; --belady computes it anyway",
                        human_bytes(cache::optimum_bytes(study.counts().accesses()))));
    }
}

answer answer_cache(const analyze_options & o, const cache_options & given) {
    cache_options        c = given;
    const output_options evictions{c.evictions, o.answer.output.force, o.answer.output.inputs};
    if (!c.evictions.empty()) {
        check_output(evictions);
    }
    const auto source = open_trace(o, o.traces.front());
    require_rows(*source);
    if (c.model.empty() && (!c.bytes.empty() || !c.bandwidth.empty())) {
        c.model = named_model_file(*source);
    }
    if (!c.bytes.empty() && c.model.empty()) {
        throw usage_error("--bytes needs --model, which says how large an expert is");
    }
    require_layers(*source, o);
    answer a;
    a.kind  = "cache";
    a.notes = source_notes(*source);
    progress    bar("reading", 0, "tokens");
    cache_study study(*source, choice_of(o), !c.all, [&](const trace::amount_read & read) {
        bar.update(read.tokens);
        return true;
    });
    if (study.empty()) {
        a.headline.push_back(nothing_selected);
        return a;
    }
    add_result(a, c, study, plan_of(c, *source, study), evictions);
    return a;
}

}  // namespace

void add_cache(CLI::App & analyze) {
    auto   c     = std::make_shared<cache_options>();
    auto   kind  = add_analysis(analyze, "cache", "how many expert reads a cache would serve, by eviction policy", 1, 1,
                                [=](analyze_options & o) {
                                 o.answer.output.inputs.push_back(c->model);
                                 return answer_cache(o, *c);
                             });
    auto * slots = kind->add_option("--slots", c->slots, "cache sizes in experts per layer, e.g. 8,16,32")
                       ->delimiter(',')
                       ->type_name("LIST");
    kind->add_option("--bytes", c->bytes, "cache memory for all layers together, e.g. 8G")
        ->excludes(slots)
        ->type_name("BYTES");
    kind->add_option("--model", c->model,
                     "the GGUF that ran, for the size of an expert (default: the one that the trace names)")
        ->type_name("MODEL");
    kind->add_option("--bandwidth", c->bandwidth, "bytes per second at which missed experts are loaded, e.g. 25G")
        ->type_name("BYTES");
    kind->add_flag("--global", c->global, "one pool of slots for all layers instead of slots per layer");
    kind->add_flag("--all", c->all, "all ubatches, not only those with decoded tokens");
    kind->add_option("--eviction-trace", c->evictions,
                     "also write every read, and what it evicted under each policy, as CSV")
        ->type_name("FILE");
    kind->add_flag("--belady", c->belady, "compute Belady's optimum however much memory it takes");
    add_examples(
        *kind,
        {{"moescope analyze cache run.moetrace --slots 8,16,24", "three sizes, counted in experts per layer"},
         {"moescope analyze cache run.moetrace --model model.gguf --bytes 8G", "what eight gigabytes would hold"}});
}

}  // namespace moescope::cli
