#include "cli/verbs/prune_sweep.hpp"

#include <algorithm>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "common.h"

#include "cli/answers/prune_plan.hpp"
#include "cli/llama/model_verb.hpp"
#include "cli/llama/prompts.hpp"
#include "cli/terminal/interrupt.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "evaluate/job.hpp"
#include "infer/llama_log.hpp"
#include "prune/comparison.hpp"

namespace moescope::cli {

namespace {

// As `evaluate` computes where llama.cpp's options say nothing.
common_params default_corpus_params(const prune_options & o) {
    common_params params;
    params.verbosity    = -1;
    params.model.path   = o.model;
    params.n_ctx        = 2048;
    params.n_parallel   = 64;
    params.fit_params   = false;
    params.n_batch      = params.n_ubatch;
    params.n_gpu_layers = 99;
    params.kv_unified   = true;
    params.warmup       = false;
    const auto threads =
        o.threads > 0 ? o.threads : static_cast<int32_t>(std::max(1u, std::thread::hardware_concurrency()));
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads;
    return params;
}

evaluate::job_options sweep_job(const prune_options & o, const decision & d) {
    evaluate::job_options job;
    job.text.jsonl            = o.held_out;
    job.text.corpus.label_key = o.label_key;
    job.plans.model           = o.model;
    job.plans.stats           = o.stats;
    job.plans.sums            = d.profile ? std::make_shared<const stats::moestats>(*d.profile) : nullptr;
    job.plans.criteria        = {prune::criterion_name(d.request.criterion)};
    job.plans.balance         = prune::balance_name(d.scores.balance);
    job.plans.keep            = o.sweep;
    job.plans.seed            = o.seed;
    return job;
}

evaluate::evaluation_events sweep_events(std::optional<progress> & bar, const std::string & label_key) {
    evaluate::evaluation_events on;
    on.read = [label_key](const infer::corpus & c, const std::string & file) { note_corpus(c, file, label_key); };
    on.nothing_to_resume = [](const std::string &) {};
    on.resumed           = [](uint64_t, size_t) {};
    on.skipped           = [](uint64_t line, const std::string & why) {
        note(fmt::format("the sample in line {} does not decode and is skipped{}", line,
                         why.empty() ? "" : ": " + printable(why)));
    };
    on.estimated    = [](double seconds) { note("about " + human_duration(seconds) + " left"); };
    on.was_complete = [] {};
    on.progress     = [&bar](double done, uint64_t total, uint64_t tokens, double seconds) {
        if (!bar) {
            bar.emplace("evaluate", total, "samples");
        }
        bar->update(static_cast<uint64_t>(done), fmt::format("{:.0f} tokens/s", double(tokens) / seconds));
    };
    on.interrupted = interrupt_guard::requested;
    on.save        = [](const evaluate::evaluation &) {};
    return on;
}

// Of all labels, or of one.
evaluate::damage damage_of(const evaluate::evaluation & e, size_t plan, std::optional<uint32_t> label) {
    std::vector<evaluate::damage_sums> units;
    for (size_t u = 0; u < e.unit_label.size(); ++u) {
        if (e.sums[plan][u].tokens > 0 && (!label || e.unit_label[u] == *label)) {
            units.push_back(e.sums[plan][u]);
        }
    }
    return evaluate::summarize(units);
}

plan_cost cost_of(const evaluate::evaluation & e, size_t plan) {
    const evaluate::damage all = damage_of(e, plan, std::nullopt);
    plan_cost              c   = {all.delta_nll, all.kl, "", all.delta_nll.value};
    for (uint32_t l = 0; e.labels.size() > 1 && l < e.labels.size(); ++l) {
        const double nll = damage_of(e, plan, l).delta_nll.value;
        if (l == 0 || nll > c.worst_nll) {
            c.worst_label = e.labels[l];
            c.worst_nll   = nll;
        }
    }
    return c;
}

// What each size of the sweep costs on the held-out text, by masks in this process.
std::vector<plan_cost> measure_costs(const prune_options & o, const decision & d) {
    if (!d.request.protect.empty()) {
        throw usage_error(
            "--evaluate measures what scores alone decide: it does not go with --protect and --protect-super");
    }
    const interrupt_guard       guard;
    const auto                  log    = route_llama_log(false);
    common_params               params = default_corpus_params(o);
    const evaluate::job_options job    = sweep_job(o, d);
    std::optional<progress>     bar;
    evaluate::evaluation_job    evaluation(job, params, *log, sweep_events(bar, o.label_key));
    const evaluate::job_end     end = evaluation.run();
    bar.reset();
    if (end != evaluate::job_end::complete) {
        note("interrupted; nothing was left behind");
        throw exit_with{interrupt_guard::exit_code()};
    }
    if (evaluation.result().predictions() == 0) {
        throw error("no text is longer than one token, so there is nothing to predict").in(o.held_out);
    }
    std::vector<plan_cost> costs;
    for (size_t p = 0; p < o.sweep.size(); ++p) {
        costs.push_back(cost_of(evaluation.result(), p));
    }
    return costs;
}

// The fewest experts that surely stay within the budget: the upper ends of the 95 % intervals do. 0: none does.
uint32_t recommended(const prune_options & o, const std::vector<swept_plan> & swept) {
    uint32_t best = 0;
    for (const swept_plan & s : swept) {
        const bool within = s.cost && (o.budget_nll <= 0 || s.cost->delta_nll.range.high <= o.budget_nll) &&
                            (o.budget_kl <= 0 || s.cost->kl.range.high <= o.budget_kl);
        best = within && (best == 0 || s.plan.n_keep < best) ? s.plan.n_keep : best;
    }
    return best;
}

std::vector<swept_plan> make_sweep(const prune_options & o, const gguf::model_file & model, decision & d) {
    std::vector<swept_plan> swept;
    for (const uint32_t n_keep : o.sweep) {
        swept.push_back({plan_for(o, model, d, n_keep), {}, {}, {}});
        if (d.profile) {
            swept.back().measures  = prune::measure_plan(*d.profile, swept.back().plan);
            swept.back().displaced = prune::displaced_shares(*d.profile, swept.back().plan);
        }
    }
    return swept;
}

std::string sizes_text(const prune_options & o) {
    std::string sizes;
    for (const uint32_t n_keep : o.sweep) {
        sizes += (sizes.empty() ? "" : ",") + std::to_string(n_keep);
    }
    return sizes;
}

}  // namespace

void sweep_plans(const prune_options & o) {
    if (!o.output.empty() || o.keep > 0 || o.ratio >= 0 || !o.size.empty() || !ids_file(o).empty()) {
        throw usage_error(
            "--sweep only compares sizes: it goes with none of -o, --keep, --ratio, --size, --keep-ids and --drop-ids");
    }
    const gguf::model_file  model(o.model);
    decision                d     = decide(o, model);
    std::vector<swept_plan> swept = make_sweep(o, model, d);
    for (const std::string & warning : swept.front().plan.warnings) {
        note("warning: " + printable(warning));
    }
    say_choice(d);
    sweep_review more = {criterion_text(d), evaluate_command(o, d, sizes_text(o)), o.budget_nll > 0 || o.budget_kl > 0,
                         0};
    if (!o.held_out.empty()) {
        const std::vector<plan_cost> costs = measure_costs(o, d);
        for (size_t i = 0; i < swept.size(); ++i) {
            swept[i].cost = costs[i];
        }
        more.recommended = recommended(o, swept);
    }
    if (o.json) {
        fmt::print("{}", to_text(sweep_json(swept, more)));
    } else {
        fmt::print("{}", sweep_text(swept, more));
    }
}

}  // namespace moescope::cli
