// moescope prune: a smaller model that keeps the best experts of each layer.

#include <algorithm>
#include <cmath>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/answers/prune_losses.hpp"
#include "cli/answers/prune_plan.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/interrupt.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "cli/verbs/prune_decision.hpp"
#include "cli/verbs/prune_sweep.hpp"
#include "core/error.hpp"
#include "io/path.hpp"
#include "prune/comparison.hpp"
#include "prune/expert_ids.hpp"
#include "prune/profile_scores.hpp"
#include "prune/writer.hpp"

namespace moescope::cli {

namespace {

// {"0": [dropped ids]}, as HOPE's authors keep their choice.
std::string pruneset_json(const prune::prune_plan & plan) {
    prune::expert_ids_by_layer kept;
    for (const auto & [il, layer] : plan.layers) {
        kept[il] = layer.kept;
    }
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (const auto & [il, ids] : prune::other_ids(kept, plan.shape.n_expert)) {
        json[std::to_string(il)] = ids;
    }
    return to_text(json);
}

std::string imatrix_output(const std::string & output) {
    return io::without_suffix(output, ".gguf") + ".imatrix.gguf";
}

prune::prune_result write_interruptibly(const gguf::model_file & model, const prune::prune_plan & plan,
                                        const prune::prune_provenance & provenance, const std::string & path) {
    const interrupt_guard guard;
    progress              bar("pruning", plan.bytes_after, "bytes");
    try {
        return prune::write_pruned(model, plan, provenance, path, [&](uint64_t done, uint64_t) {
            bar.update(done);
            return !interrupt_guard::requested();
        });
    } catch (const error &) {
        if (interrupt_guard::requested()) {
            note("interrupted; nothing was left behind");
            throw exit_with{interrupt_guard::exit_code()};
        }
        throw;
    }
}

void write_everything(const prune_options & o, const gguf::model_file & model, const decision & d,
                      const prune::prune_plan & plan, nlohmann::ordered_json & json) {
    std::vector<std::string> inputs = model.paths();
    inputs.insert(inputs.end(), {o.stats, o.keep_ids, o.drop_ids, o.imatrix});
    check_output({o.output, o.force, inputs});
    const std::string imatrix_path = imatrix_output(o.output);
    if (!o.imatrix.empty()) {
        check_output({imatrix_path, o.force, inputs});
        prune::write_pruned_imatrix(gguf::model_file(o.imatrix), plan,
                                    imatrix_path);  // first: small, and it may not fit
    }
    prune::prune_provenance provenance;
    provenance.criterion  = criterion_text(d);
    provenance.statistics = d.request.criterion == prune::prune_criterion::ids ? ids_file(o) : o.stats;
    provenance.seed       = o.seed;
    const auto result     = write_interruptibly(model, plan, provenance, o.output);
    json["output"]        = o.output;
    json["file_size"]     = result.file_size;
    if (result.hash_ids_replaced > 0) {
        json["hash_ids_replaced"] = result.hash_ids_replaced;
        note(fmt::format("{} hash-table entries named a removed expert and were replaced",
                         with_commas(result.hash_ids_replaced)));
    }
    if (!o.imatrix.empty()) {
        json["imatrix_output"] = imatrix_path;
    }
}

// What else the statistics say of the plan.
plan_review review(const prune_options & o, const gguf::model_file & model, const decision & d,
                   const prune::prune_plan & plan) {
    plan_review r;
    r.criterion = criterion_text(d);
    r.evaluate  = evaluate_command(o, d, std::to_string(plan.n_keep));
    if (d.profile) {
        r.mask               = prune::mask_of(*d.profile);
        r.measures           = prune::measure_plan(*d.profile, plan);
        r.displaced          = prune::displaced_shares(*d.profile, plan);
        r.displaced_by_layer = prune::displaced_by_layer(*d.profile, plan);
        r.rivals             = prune::rival_plans(model, *d.profile, d.request, d.scores, plan);
    }
    return r;
}

void run_prune(const prune_options & o) {
    set_quiet(o.quiet);
    if (!o.sweep.empty()) {
        sweep_plans(o);
        return;
    }
    if (!o.held_out.empty()) {
        throw usage_error("--evaluate needs --sweep N,…").fix("of one plan, moescope evaluate says what it costs");
    }
    if (o.output.empty() && !o.dry_run) {
        throw usage_error("prune needs -o OUT.gguf, --dry-run, or --sweep");
    }
    const gguf::model_file model(o.model);
    decision               d    = decide(o, model);
    prune::prune_plan      plan = plan_for(o, model, d, n_keep_of(o, model));
    const plan_review      more = review(o, model, d, plan);
    if (d.profile) {
        const std::vector<std::string> losses = loss_warnings(*d.profile, plan, more.displaced);
        plan.warnings.insert(plan.warnings.end(), losses.begin(), losses.end());
    }
    nlohmann::ordered_json json = plan_json(plan, more);
    for (const std::string & warning : plan.warnings) {
        note("warning: " + printable(warning));
    }
    if (!o.pruneset.empty()) {
        write_text({o.pruneset, o.force, {o.model, o.stats, o.keep_ids, o.drop_ids, o.imatrix}}, pruneset_json(plan));
    }
    if (!o.dry_run) {
        write_everything(o, model, d, plan, json);
    }
    say_choice(d);
    if (o.json) {
        fmt::print("{}", to_text(json));
    } else if (o.dry_run) {
        fmt::print("{}", plan_text(plan, more));
    } else {
        fmt::print("{}: {} of {} experts in each of {} layers by {}, {} instead of {}\n{}is it worse?  {}\n",
                   printable(o.output), plan.n_keep, plan.shape.n_expert, plan.layers.size(), more.criterion,
                   human_bytes(plan.bytes_after), human_bytes(plan.bytes_before), displaced_text(more), more.evaluate);
    }
}

void add_sweep_options(CLI::App & verb, prune_options & o) {
    verb.add_option("--sweep", o.sweep, "compare plans that keep these numbers of experts, e.g. 8,16,24")
        ->delimiter(',')
        ->check(CLI::PositiveNumber)
        ->type_name("N,…");
    auto * held_out = verb.add_option("--evaluate", o.held_out,
                                      "with --sweep: measure each plan on this text (JSONL), as evaluate does")
                          ->type_name("FILE");
    verb.add_option("--label-key", o.label_key, "with --evaluate: the field that names a sample's label")
        ->type_name("KEY")
        ->needs(held_out);
    verb.add_option("--budget-nll", o.budget_nll,
                    "with --evaluate: recommend the fewest experts within this increase of NLL")
        ->type_name("NATS")
        ->check(CLI::PositiveNumber)
        ->needs(held_out);
    verb.add_option("--budget-kl", o.budget_kl, "with --evaluate: … within this KL divergence")
        ->type_name("NATS")
        ->check(CLI::PositiveNumber)
        ->needs(held_out);
    verb.add_option("-t,--threads", o.threads, "with --evaluate: threads (default: as many as processors)")
        ->type_name("N")
        ->check(CLI::PositiveNumber);
}

}  // namespace

void add_prune(CLI::App & app) {
    const auto o    = std::make_shared<prune_options>();
    CLI::App & verb = *app.add_subcommand("prune", "write a smaller GGUF that keeps the best experts of each layer");
    verb.add_option("MODEL", o->model, "GGUF file, or the first part of a split one")->required()->type_name("");
    verb.add_option("--stats", o->stats,
                    "what the criterion reads: a .moestats, a trace, an expert_stats.json, or an imatrix for frequency")
        ->type_name("FILE");
    verb.add_option("--criterion", o->criterion,
                    "removal (default), reap, man, msan, reap-sum, ean-sum, seer, easy-ep, hope, frequency, gate, "
                    "weighted-frequency, random")
        ->type_name("NAME");
    verb.add_option(
            "--balance", o->balance,
            "how labels count: rows (as many as they have), labels (each the same; default of removal where there "
            "are some), or worst (what hurts the worst-off label least goes first)")
        ->type_name("HOW");
    verb.add_flag("--protect-super", o->protect_super, "keep experts whose outputs are extreme");
    auto * keep =
        verb.add_option("--keep", o->keep, "experts to keep in each layer")->type_name("N")->check(CLI::PositiveNumber);
    auto * ratio =
        verb.add_option("--ratio", o->ratio, "share of the experts to remove, 0 to 1 (0.25 removes a quarter)")
            ->type_name("SHARE")
            ->check(CLI::Range(0.0, 1.0));
    auto * size = verb.add_option("--size", o->size, "the largest file that the pruned model may be, e.g. 12G")
                      ->type_name("BYTES");
    auto * ids =
        verb.add_option("--keep-ids", o->keep_ids, "file of the ids to keep in each layer (3: 52 40 85), or JSON")
            ->type_name("FILE");
    auto * drop = verb.add_option("--drop-ids", o->drop_ids,
                                  "the same for the ids to remove, such as HOPE's pruneset.json; all others stay")
                      ->type_name("FILE");
    keep->excludes(ratio)->excludes(ids)->excludes(drop)->excludes(size);
    ratio->excludes(ids)->excludes(drop)->excludes(size);
    size->excludes(ids)->excludes(drop);
    drop->excludes(ids);
    verb.add_option("--pruneset", o->pruneset,
                    "also write the removed ids of each layer to this file, as HOPE does (JSON)")
        ->type_name("FILE");
    verb.add_option("--protect", o->protect,
                    "ids to keep in any case: 3,17 in every layer, 5:3,17 in layer 5; repeatable")
        ->type_name("LIST")
        ->allow_extra_args(false);
    verb.add_option("--seed", o->seed, "seed of --criterion random")->type_name("N")->capture_default_str();
    verb.add_option("--imatrix", o->imatrix,
                    "an imatrix (GGUF) of MODEL to slice in the same way, into OUT.imatrix.gguf")
        ->type_name("FILE");
    verb.add_option("-o,--output", o->output, "the pruned model")->type_name("OUT.gguf");
    verb.add_flag("--force", o->force, "replace existing files");
    add_sweep_options(verb, *o);
    verb.add_flag("--dry-run", o->dry_run, "only show what would be removed, and its size");
    verb.add_flag("--json", o->json, "print the summary as JSON");
    verb.add_flag("-q,--quiet", o->quiet, "no notes, no progress");
    add_examples(verb, {{"moescope prune model.gguf --stats expert_stats.moestats --ratio 0.25 -o small.gguf",
                         "a quarter of the experts goes, those that are missed least"},
                        {"moescope prune model.gguf --stats expert_stats.moestats --keep 24 --dry-run",
                         "what would go, without writing a model"},
                        {"moescope prune model.gguf --stats week.moetrace --size 12G -o small.gguf",
                         "a file of at most 12 GiB, by what a server computed"}});
    verb.callback([o] { run_prune(*o); });
}

}  // namespace moescope::cli
