// moescope prune: a smaller model that keeps the best experts of each layer.

#include <algorithm>
#include <cmath>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/help/examples.hpp"
#include "cli/terminal/interrupt.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "io/path.hpp"
#include "prune/load_scores.hpp"
#include "prune/plan.hpp"
#include "prune/writer.hpp"

namespace moescope::cli {

namespace {

struct prune_options {
    std::string              model, stats, criterion = "reap", keep_ids, drop_ids, pruneset, imatrix, output;
    std::vector<std::string> protect;
    uint32_t                 keep  = 0;
    double                   ratio = -1;
    uint64_t                 seed  = 0;
    bool                     force = false, dry_run = false, json = false, quiet = false;
};

prune::prune_request make_request(const prune_options & o, const gguf::model_file & model) {
    prune::prune_request request;
    const bool           by_ids = !o.keep_ids.empty() || !o.drop_ids.empty();
    request.criterion           = by_ids ? prune::prune_criterion::ids : prune::parse_criterion(o.criterion);
    request.protect             = prune::parse_expert_ids(o.protect, "--protect");
    request.seed                = o.seed;
    if (request.criterion == prune::prune_criterion::ids) {
        if (!by_ids) {
            throw usage_error("--criterion ids needs --keep-ids FILE or --drop-ids FILE");
        }
        request.keep_ids = o.drop_ids.empty() ? prune::read_expert_ids(o.keep_ids)
                                              : prune::other_ids(prune::read_expert_ids(o.drop_ids),
                                                                 gguf::read_moe_shape(model.metadata()).n_expert);
        return request;
    }
    if (request.criterion != prune::prune_criterion::random) {
        if (o.stats.empty()) {
            throw usage_error("--criterion " + o.criterion + " needs --stats FILE").fix("moescope profile makes one");
        }
        request.scores = prune::load_scores(o.stats, request.criterion);
    }
    if ((o.keep > 0) == (o.ratio >= 0)) {
        throw usage_error("give either --keep N or --ratio R");
    }
    request.n_keep = o.keep > 0 ? o.keep : prune::keep_for_ratio(gguf::read_moe_shape(model.metadata()), o.ratio);
    return request;
}

std::string percent(double part, double whole) {
    return whole > 0 ? fmt::format("{:.1f} %", 100 * part / whole) : "–";
}

std::string removed_ids(const prune::layer_plan & layer, uint32_t n_expert) {
    std::string text;
    for (int32_t id = 0, at = 0; id < static_cast<int32_t>(n_expert); ++id) {
        if (at < static_cast<int32_t>(layer.kept.size()) && layer.kept[static_cast<size_t>(at)] == id) {
            ++at;
        } else {
            text += (text.empty() ? "" : " ") + std::to_string(id);
        }
    }
    return text.empty() ? "none" : text;
}

std::string plan_table(const prune::prune_plan & plan) {
    const uint32_t n_gone = plan.shape.n_expert - plan.n_keep;
    std::string text = fmt::format("{:>5} {:>6} {:>6} {:>12} {:>12}  {:>10}  {}\n", "layer", "keeps", "drops", "before",
                                   "after", "score kept", "dropped experts");
    for (const auto & [il, layer] : plan.layers) {
        text += fmt::format("{:>5} {:>6} {:>6} {:>12} {:>12}  {:>10}  {}{}\n", il, layer.kept.size(), n_gone,
                            human_bytes(layer.bytes_before), human_bytes(layer.bytes_after),
                            percent(layer.kept_score, layer.total_score), removed_ids(layer, plan.shape.n_expert),
                            layer.is_mtp ? " (MTP)" : "");
    }
    text += fmt::format("\n{} of {} experts stay in each of {} layers: {} of {} ({})\n", plan.n_keep,
                        plan.shape.n_expert, plan.layers.size(), human_bytes(plan.bytes_after),
                        human_bytes(plan.bytes_before), percent(double(plan.bytes_after), double(plan.bytes_before)));
    return text;
}

nlohmann::ordered_json plan_json(const prune::prune_plan & plan) {
    nlohmann::ordered_json json = {
        {"n_expert", plan.shape.n_expert}, {"n_keep", plan.n_keep},     {"bytes_before", plan.bytes_before},
        {"bytes_after", plan.bytes_after}, {"warnings", plan.warnings}, {"layers", nlohmann::ordered_json::object()},
    };
    for (const auto & [il, layer] : plan.layers) {
        nlohmann::ordered_json & out = json["layers"][std::to_string(il)];
        out = {{"kept", layer.kept}, {"bytes_before", layer.bytes_before}, {"bytes_after", layer.bytes_after}};
        if (layer.total_score > 0) {
            out["score_kept"] = layer.kept_score / layer.total_score;
        }
        if (layer.is_mtp) {
            out["mtp"] = true;
        }
    }
    return json;
}

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

void write_everything(const prune_options & o, const gguf::model_file & model, const prune::prune_request & request,
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
    provenance.criterion = prune::criterion_name(request.criterion);
    provenance.statistics =
        request.criterion == prune::prune_criterion::ids ? (o.drop_ids.empty() ? o.keep_ids : o.drop_ids) : o.stats;
    provenance.seed   = o.seed;
    const auto result = write_interruptibly(model, plan, provenance, o.output);
    json["output"]    = o.output;
    json["file_size"] = result.file_size;
    if (result.hash_ids_replaced > 0) {
        json["hash_ids_replaced"] = result.hash_ids_replaced;
        note(fmt::format("{} hash-table entries named a removed expert and were replaced",
                         with_commas(result.hash_ids_replaced)));
    }
    if (!o.imatrix.empty()) {
        json["imatrix_output"] = imatrix_path;
    }
}

// How to find out whether the smaller model is worse.
std::string next_step(const prune_options & o) {
    return fmt::format("is it worse?  llama-perplexity -m {} -f TEXT --kl-divergence-base base.kld\n"
                       "              llama-perplexity -m {} -f TEXT --kl-divergence-base base.kld --kl-divergence\n",
                       printable(o.model), printable(o.output));
}

void run_prune(const prune_options & o) {
    set_quiet(o.quiet);
    if (o.output.empty() && !o.dry_run) {
        throw usage_error("prune needs -o OUT.gguf, or --dry-run");
    }
    const gguf::model_file     model(o.model);
    const prune::prune_request request = make_request(o, model);
    prune::prune_plan          plan    = prune::plan_prune(model, request);
    if (!request.scores.layers.empty()) {
        if (const std::string doubt = prune::doubt_about_scores(o.stats, o.model); !doubt.empty()) {
            plan.warnings.push_back(doubt);
        }
    }
    nlohmann::ordered_json json = plan_json(plan);
    for (const std::string & warning : plan.warnings) {
        note("warning: " + printable(warning));
    }
    if (!o.pruneset.empty()) {
        write_text({o.pruneset, o.force, {o.model, o.stats, o.keep_ids, o.drop_ids, o.imatrix}}, pruneset_json(plan));
    }
    if (!o.dry_run) {
        write_everything(o, model, request, plan, json);
    }
    if (o.json) {
        fmt::print("{}", to_text(json));
    } else if (o.dry_run) {
        fmt::print("{}", plan_table(plan));
    } else {
        fmt::print("{}: {} of {} experts in each of {} layers, {} instead of {}\n{}", printable(o.output), plan.n_keep,
                   plan.shape.n_expert, plan.layers.size(), human_bytes(plan.bytes_after),
                   human_bytes(plan.bytes_before), next_step(o));
    }
}

}  // namespace

void add_prune(CLI::App & app) {
    const auto o    = std::make_shared<prune_options>();
    CLI::App & verb = *app.add_subcommand("prune", "write a smaller GGUF that keeps the best experts of each layer");
    verb.add_option("MODEL", o->model, "GGUF file, or the first part of a split one")->required()->type_name("");
    verb.add_option("--stats", o->stats,
                    "what the criterion reads: .moestats, expert_stats.json, or an imatrix for frequency");
    verb.add_option("--criterion", o->criterion, "reap, ean, frequency, gate, weighted-frequency, random")
        ->capture_default_str();
    auto * keep = verb.add_option("--keep", o->keep, "experts to keep in each layer")->check(CLI::PositiveNumber);
    auto * ratio =
        verb.add_option("--ratio", o->ratio, "share of the experts to remove, 0 to 1 (0.25 removes a quarter)")
            ->check(CLI::Range(0.0, 1.0));
    auto * ids =
        verb.add_option("--keep-ids", o->keep_ids, "file of the ids to keep in each layer (3: 52 40 85), or JSON");
    auto * drop = verb.add_option("--drop-ids", o->drop_ids,
                                  "the same of the ids to remove, such as HOPE's pruneset.json; all others stay");
    keep->excludes(ratio)->excludes(ids)->excludes(drop);
    ratio->excludes(ids)->excludes(drop);
    drop->excludes(ids);
    verb.add_option("--pruneset", o->pruneset,
                    "also write the removed ids of each layer to this file, as HOPE does (JSON)");
    verb.add_option("--protect", o->protect,
                    "ids to keep in any case: 3,17 in every layer, 5:3,17 in layer 5; repeatable")
        ->allow_extra_args(false);
    verb.add_option("--seed", o->seed, "seed of --criterion random")->capture_default_str();
    verb.add_option("--imatrix", o->imatrix,
                    "an imatrix (GGUF) of MODEL to slice in the same way, into OUT.imatrix.gguf");
    verb.add_option("-o,--output", o->output, "the pruned model")->type_name("OUT.gguf");
    verb.add_flag("--force", o->force, "replace existing files");
    verb.add_flag("--dry-run", o->dry_run, "only show what would be removed, and its size");
    verb.add_flag("--json", o->json, "print the summary as JSON");
    verb.add_flag("-q,--quiet", o->quiet, "no notes, no progress");
    add_examples(verb, {{"moescope prune model.gguf --stats expert_stats.moestats --ratio 0.25 -o small.gguf",
                         "a quarter of the experts goes, those that REAP scores lowest"},
                        {"moescope prune model.gguf --stats expert_stats.moestats --keep 24 --dry-run",
                         "what would go, without writing a model"}});
    verb.callback([o] { run_prune(*o); });
}

}  // namespace moescope::cli
