// moescope reorder: the same model, with experts that are used together lying together.

#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "analysis/tools/model_sizes.hpp"
#include "cli/answers/same_model.hpp"
#include "cli/help/examples.hpp"
#include "cli/terminal/interrupt.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "core/error.hpp"
#include "io/path.hpp"
#include "logs/open.hpp"
#include "prune/writer.hpp"
#include "reorder/study.hpp"
#include "reorder/writer.hpp"

namespace moescope::cli {

namespace {

struct reorder_options {
    std::string model, trace, imatrix, stats, output, page = "4K", readahead = "128K";
    bool        inverse = false, all = false, force = false, dry_run = false, json = false, quiet = false;
};

std::string beside(const std::string & output, const char * suffix) {
    return io::without_suffix(output, ".gguf") + suffix;
}

std::vector<reorder::read_habit> habits_of(const reorder_options & o) {
    const uint64_t page = parse_bytes(o.page, "--page"), ahead = parse_bytes(o.readahead, "--readahead");
    if (page == 0) {
        throw usage_error("--page must be at least 1");
    }
    std::vector<reorder::read_habit> habits = {{page, 0}};
    if (ahead > 0) {
        habits.push_back({page, ahead});
    }
    return habits;
}

nlohmann::ordered_json sums_json(const reorder::read_sums & s, uint64_t tokens) {
    return {{"reads_per_token", double(s.reads) / double(tokens)},
            {"bytes_per_token", double(s.bytes) / double(tokens)},
            {"mean_read_bytes", s.reads > 0 ? double(s.bytes) / double(s.reads) : 0.0}};
}

nlohmann::ordered_json study_json(const reorder::order_study & study, const std::vector<reorder::read_habit> & habits) {
    nlohmann::ordered_json json = {{"tokens", study.tokens},
                                   {"reads", nlohmann::ordered_json::array()},
                                   {"orders", nlohmann::ordered_json::object()}};
    for (size_t h = 0; h < habits.size(); ++h) {
        json["reads"].push_back({{"page", habits[h].page},
                                 {"readahead", habits[h].readahead},
                                 {"before", sums_json(study.before[h], study.tokens)},
                                 {"held_out", sums_json(study.held_out[h], study.tokens)},
                                 {"after", sums_json(study.after[h], study.tokens)}});
    }
    for (const auto & [il, order] : study.orders) {
        json["orders"][std::to_string(il)] = order;
    }
    return json;
}

std::string reads_table(const reorder::order_study & study, const std::vector<reorder::read_habit> & habits) {
    std::string  text   = fmt::format("{:<10} {:<34} {:>12} {:>12} {:>12}\n", "read-ahead", "experts", "reads/token",
                                      "bytes/token", "bytes/read");
    const double tokens = double(study.tokens);
    for (size_t h = 0; h < habits.size(); ++h) {
        const std::pair<const char *, const reorder::read_sums *> rows[] = {
            {"as they lie", &study.before[h]},
            {"reordered, judged on the other half", &study.held_out[h]},
            {"reordered, on what it was learned", &study.after[h]}};
        for (const auto & [name, s] : rows) {
            text += fmt::format("{:<10} {:<34} {:>12.1f} {:>12} {:>12}\n", human_bytes(habits[h].readahead), name,
                                double(s->reads) / tokens, human_bytes(uint64_t(double(s->bytes) / tokens)),
                                human_bytes(s->reads > 0 ? s->bytes / s->reads : 0));
        }
    }
    return text;
}

// What the trace says of the order. Throws error where it is of another model, or says nothing.
reorder::order_study study_trace(const reorder_options & o, const gguf::model_file & model) {
    const auto source = logs::open_source(o.trace);
    if (source->info().counts_only) {
        throw error("this trace holds counts alone: which experts are used together is not in it")
            .in(o.trace)
            .fix("record without --counts-only");
    }
    require_fit(*source, analysis::read_expert_sizes(o.model), o.model);
    progress              bar("reading", 0, "tokens");
    analysis::cache_study study(*source, {}, !o.all, [&](const trace::amount_read & read) {
        bar.update(read.tokens);
        return true;
    });
    if (study.empty()) {
        throw error("the trace is empty: no expert was selected").in(o.trace);
    }
    return reorder::study_orders(model, study, habits_of(o));
}

uint64_t write_with_progress(const reorder_options & o, const gguf::model_file & model,
                             const reorder::reorder_plan & plan) {
    const interrupt_guard guard;
    progress              bar("reordering", plan.pruning.bytes_before, "bytes");
    try {
        return reorder::write_reordered(model, plan, {o.trace, o.inverse}, o.output, [&](uint64_t done, uint64_t) {
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

void write_reordered_files(const reorder_options & o, const gguf::model_file & model,
                           const reorder::reorder_plan & plan, nlohmann::ordered_json & json) {
    std::vector<std::string> inputs = model.paths();
    inputs.insert(inputs.end(), {o.trace, o.imatrix, o.stats});
    const std::string imatrix_path = beside(o.output, ".imatrix.gguf"), stats_path = beside(o.output, ".moestats");
    check_output({o.output, o.force, inputs});
    std::optional<stats::moestats> profile;
    if (!o.stats.empty()) {
        check_output({stats_path, o.force, inputs});
        profile = reorder::read_stats_of(o.stats, model);  // first, as the imatrix: it may not fit
    }
    if (!o.imatrix.empty()) {
        check_output({imatrix_path, o.force, inputs});
        prune::write_pruned_imatrix(gguf::model_file(o.imatrix), plan.pruning, imatrix_path);
        json["imatrix_output"] = imatrix_path;
    }
    json["file_size"] = write_with_progress(o, model, plan);
    json["output"]    = o.output;
    if (profile) {
        reorder::write_reordered_stats(std::move(*profile), plan, o.output, stats_path);
        json["stats_output"] = stats_path;
    }
}

void require_sensible(const reorder_options & o) {
    if (o.output.empty() && !o.dry_run) {
        throw usage_error("reorder needs -o OUT.gguf, or --dry-run");
    }
    if (o.trace.empty() == !o.inverse) {
        throw usage_error("give --trace T, or --inverse for a model that was reordered");
    }
    if (o.dry_run && o.inverse) {
        throw usage_error("--inverse has nothing to show: it needs -o OUT.gguf");
    }
}

void run_reorder(const reorder_options & o) {
    set_quiet(o.quiet);
    require_sensible(o);
    const gguf::model_file model(o.model);
    reorder::reorder_plan  plan;
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    std::string            text;
    if (o.inverse) {
        plan = reorder::plan_inverse(model);
    } else {
        const reorder::order_study study = study_trace(o, model);
        plan                             = reorder::plan_reorder(model, study.orders);
        json                             = study_json(study, habits_of(o));
        text                             = reads_table(study, habits_of(o));
    }
    for (const std::string & warning : plan.warnings) {
        note("warning: " + printable(warning));
    }
    if (!o.dry_run) {
        write_reordered_files(o, model, plan, json);
        text += fmt::format("{}: {} experts in each of {} layers, {}\n", printable(o.output),
                            plan.pruning.shape.n_expert, plan.pruning.layers.size(),
                            o.inverse ? "back in their first order" : "those used together beside each other");
    }
    fmt::print("{}", o.json ? to_text(json) : text);
}

}  // namespace

void add_reorder(CLI::App & app) {
    const auto o = std::make_shared<reorder_options>();
    CLI::App & verb =
        *app.add_subcommand("reorder", "write the same model with experts that are used together side by side");
    verb.add_option("MODEL", o->model, "GGUF file, or the first part of a split one")->required()->type_name("");
    verb.add_option("--trace", o->trace, "a recording of this model: which experts are used together")->type_name("T");
    verb.add_option("-o,--output", o->output, "the reordered model")->type_name("OUT.gguf");
    verb.add_option("--imatrix", o->imatrix, "an imatrix (GGUF) of MODEL to carry along, into OUT.imatrix.gguf")
        ->type_name("FILE");
    verb.add_option("--stats", o->stats, "a profile (.moestats) of MODEL to carry along, into OUT.moestats")
        ->type_name("FILE");
    verb.add_option("--page", o->page, "bytes in which the file is read")->capture_default_str()->type_name("BYTES");
    verb.add_option("--readahead", o->readahead, "gaps up to this are read along")
        ->capture_default_str()
        ->type_name("BYTES");
    verb.add_flag("--inverse", o->inverse, "undo: give the experts of a reordered model their first order back");
    verb.add_flag("--all", o->all, "learn from all ubatches, not only from those with decoded tokens");
    verb.add_flag("--force", o->force, "replace existing files");
    verb.add_flag("--dry-run", o->dry_run, "only show what the disk would read, before and after");
    verb.add_flag("--json", o->json, "print the summary as JSON, with the orders");
    verb.add_flag("-q,--quiet", o->quiet, "no notes, no progress");
    add_examples(verb,
                 {{"moescope reorder model.gguf --trace run.moetrace -o reordered.gguf",
                   "experts that the recorded text uses together lie side by side"},
                  {"moescope reorder model.gguf --trace run.moetrace --dry-run",
                   "how many reads that would save, without writing a model"},
                  {"moescope reorder reordered.gguf --inverse -o model.gguf", "the first file again, byte for byte"}});
    verb.callback([o] { run_reorder(*o); });
}

}  // namespace moescope::cli
