// moescope run: computes prompts itself, records their routing, prints what the model says.

#include <memory>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "common.h"

#include "analysis/tools/prompt_labels.hpp"
#include "cli/answers/summary.hpp"
#include "cli/help/examples.hpp"
#include "cli/llama/model_verb.hpp"
#include "cli/llama/prompts.hpp"
#include "cli/llama/recording.hpp"
#include "cli/llama/tensor_table.hpp"
#include "cli/terminal/interrupt.hpp"
#include "cli/terminal/progress.hpp"
#include "cli/terminal/result_file.hpp"
#include "cli/terminal/terminal.hpp"
#include "cli/terminal/text.hpp"
#include "cli/verbs.hpp"
#include "cli/verbs/mask_options.hpp"
#include "core/error.hpp"
#include "formats/format.hpp"
#include "gguf/head.hpp"
#include "infer/engine.hpp"
#include "infer/generator.hpp"
#include "infer/runner_up.hpp"
#include "logs/open.hpp"

namespace moescope::cli {

namespace {

// What a run takes where llama.cpp's option does not say.
constexpr int32_t run_predict = 128;
constexpr int32_t run_context = 4096;

struct run_options {
    output_options output;
    prompt_options prompts;
    std::string    capture = "ids,weights";
    std::string    layers;
    std::string    way        = "probes";
    std::string    last_layer = "all";
    std::string    max_size;
    std::string    list_tensors;
    std::string    log;
    bool           counts_only = false, f16 = false, quiet = false;
    mask_options   mask;
    CLI::Option *  list_option = nullptr;
    CLI::Option *  log_option  = nullptr;
};

trace::writer_options make_writer_options(const run_options & o) {
    trace::writer_options w;
    w.counts_only = o.counts_only;
    w.f16         = o.f16;
    w.max_size    = o.max_size.empty() ? 0 : parse_bytes(o.max_size, "--max-size");
    w.existing    = policy_of(o.output.force);
    return w;
}

common_params parse_params(const model_verb & verb, const run_options & o) {
    common_params params;
    params.verbosity = -1;  // quiet; -v and -lv raise it
    verb.parse_llama(params);
    if (!verb.given("-n")) {
        params.n_predict = o.prompts.jsonl.empty() ? run_predict : 0;
    }
    if (!verb.given("-c")) {
        params.n_ctx = run_context;
    }
    params.n_batch = std::min(params.n_batch, params.n_ubatch);  // bounds the logits buffer to one ubatch's rows
    params.warmup  = false;                                      // it would only have to be left out of the trace
    note_useless_offload(verb, params);
    return params;
}

// Text for a person's terminal: what the model invents must not steer it.
void print_generated(const std::string & text) {
    clear_drawn_line();
    if (!is_terminal(stdout)) {
        std::fwrite(text.data(), 1, text.size(), stdout);
    } else {
        for (const char c : text) {
            const auto u = static_cast<unsigned char>(c);
            if (u >= 0x20 || c == '\n' || c == '\t') {
                std::fputc(u == 0x7f ? '?' : c, stdout);
            }
        }
    }
    std::fflush(stdout);
    if (std::ferror(stdout)) {
        throw error("cannot write the generated text").in("stdout");
    }
}

struct run_totals {
    uint64_t prompts = 0, prompt_tokens = 0, generated = 0;
    bool     interrupted = false;
};

class runner {
public:
    runner(infer::engine & e, recording & r, const infer::generation_options & g)
        : engine_(e),
          recording_(r),
          options_(g) {}

    run_totals run(const std::vector<run_prompt> & prompts) {
        for (const run_prompt & p : prompts) {
            one(p, prompts.size());
            if (totals_.interrupted) {
                break;
            }
        }
        return totals_;
    }

private:
    std::string text_of(const std::vector<int32_t> & tokens) const {
        std::string text;
        for (const int32_t t : tokens) {
            text += common_token_to_piece(engine_.vocab(), t, true);
        }
        return text;
    }

    void one(const run_prompt & p, size_t n_prompts) {
        recording_.begin_prompt(text_of(p.tokens), p.tokens.size());
        if (!p.label.empty()) {
            recording_.note(analysis::to_note({totals_.prompts, p.line, p.label, decodes_}));
        }
        progress bar(n_prompts == 1 ? "prompt" : fmt::format("prompt {} of {}", totals_.prompts + 1, n_prompts),
                     p.tokens.size(), "tokens");
        infer::generation_hooks hooks;
        hooks.phase     = [&](bool decode) { recording_.session().set_phase(decode ? phase::decode : phase::prefill); };
        hooks.prefilled = [&](uint64_t done, uint64_t) { bar.update(done); };
        hooks.text      = print_generated;
        const infer::generation_result r = infer::generate(engine_, p.tokens, options_, hooks);
        recording_.check();
        decodes_ += r.n_decodes;
        totals_.prompts += 1;
        totals_.prompt_tokens += r.n_prompt;
        totals_.generated += r.n_generated;
        totals_.interrupted = r.why == infer::generation_result::end::interrupted || interrupt_guard::requested();
        if (r.n_generated > 0) {
            print_generated("\n");
        }
        if (r.why == infer::generation_result::end::context) {
            note(fmt::format("the context of {} tokens is full; -c makes it larger", with_commas(engine_.n_ctx())));
        }
    }

    infer::engine &                   engine_;
    recording &                       recording_;
    const infer::generation_options & options_;
    run_totals                        totals_;
    uint64_t                          decodes_ = 0;
};

void list_tensors(common_params & params, infer::llama_log & log, const run_options & o, const model_verb & verb) {
    infer::tensor_list list;
    params.cb_eval           = infer::tensor_list::callback;
    params.cb_eval_user_data = &list;
    infer::engine        engine(params, log, interrupt_guard::requested);
    std::vector<int32_t> tokens = {0};
    if (verb.given("-p") || verb.given("-f")) {
        tokens = read_prompts(o.prompts, params, engine, verb).front().tokens;
    }
    infer::generate(engine, tokens, {}, {});
    if (print_tensors(list.nodes(), o.list_tensors) == 0) {
        throw error("no tensor of the graph matches '" + o.list_tensors + "'");
    }
}

void summarize(const run_options & o, const recording & r, const run_totals & t, const std::string & path) {
    const auto * writer = r.writer();
    if (writer == nullptr) {
        note("nothing was recorded: no MoE block was computed in the selected layers");
        return;
    }
    if (!o.quiet) {
        say(summary_text(path, summary_options_for(stderr)));
    }
    note(fmt::format("{} prompt and {} generated tokens; trace: {} ({})", with_commas(t.prompt_tokens),
                     with_commas(t.generated), path, human_bytes(writer->bytes())));
    note("next: moescope report " + path);
}

// Where a run leaves what it records.
struct run_files {
    std::string trace;
    bool        with_log = false;
    std::string log;  // empty: it goes to stdout, behind the generated text
};

run_files files_of_run(const run_options & o) {
    run_files f;
    f.trace    = o.output.path == "-" ? fmt::format("moescope.run.{}.moetrace", ::getpid()) : o.output.path;
    f.with_log = o.log_option->count() > 0;
    if (f.with_log && o.log != "-") {
        f.log = o.log.empty() ? "moe_expert_selection.log" : o.log;
    }
    return f;
}

void require_files(const run_options & o, const run_files & files, std::vector<std::string> inputs) {
    require_writable(files.trace, o.output.force, inputs);
    if (!files.log.empty()) {
        require_writable(files.log, o.output.force, inputs);
    }
}

capture_list capture_of(const run_options & o) {
    return parse_capture_list(o.capture, runner_up::possible);
}

recording_options recording_of(const run_options & o, const run_files & files, const std::string & model) {
    using capture::mechanism;
    const mechanism by = o.way == "callback" ? mechanism::eval_callback : mechanism::probes;
    return {files.trace,
            files.log,
            {capture_of(o), layer_filter(o.layers), by, read_mask(o.mask, model)},
            make_writer_options(o)};
}

void print_log(const std::string & trace_path) {
    const auto source = logs::open_source(trace_path);
    formats::write_all(*source, *formats::make_log(stdout, {}));
    std::fflush(stdout);
}

void record_prompts(const model_verb & verb, const run_options & o, common_params & params, infer::llama_log & log,
                    const run_files & files) {
    recording r(recording_of(o, files, params.model.path));
    r.prepare(params);
    if (capture_of(o).columns.has(column::runner_up)) {
        if (const std::string why = infer::load_with_runner_up(params); !why.empty()) {
            throw error("there is no runner-up to capture: " + why).in(params.model.path);
        }
    }
    infer::engine                 engine(params, log, interrupt_guard::requested);
    const std::vector<run_prompt> prompts = read_prompts(o.prompts, params, engine, verb);
    if (params.n_predict != 0 && !engine.can_generate()) {
        note("this model cannot generate text: only the prompt is computed");
        params.n_predict = 0;
    }
    const infer::generation_options options = {params.n_predict, infer::logit_rows(o.last_layer), params.antiprompt};
    const run_totals                totals  = runner(engine, r, options).run(prompts);
    r.finish(totals.interrupted ? "interrupted" : "finished");
    if (files.with_log && r.writer() != nullptr) {
        if (files.log.empty()) {
            print_log(files.trace);
        } else {
            note("log: " + files.log);
        }
    }
    summarize(o, r, totals, files.trace);
    if (totals.interrupted) {
        throw exit_with{interrupt_guard::exit_code()};
    }
}

// Before the model is loaded, which may take long.
void check_options(const model_verb & verb, const run_options & o, bool listing) {
    infer::logit_rows rows(o.last_layer);
    read_mask(o.mask);
    capture_of(o);
    make_writer_options(o);
    if (!listing) {
        check_prompt_source(o.prompts, verb);
    }
    if (o.log_option->count() > 0 && o.counts_only) {
        throw usage_error("--log needs rows, which --counts-only leaves out");
    }
}

void run_run(const model_verb & verb, const run_options & o) {
    set_quiet(o.quiet);
    const bool listing = o.list_option->count() > 0;
    check_options(verb, o, listing);
    common_params   params = parse_params(verb, o);
    const run_files files  = files_of_run(o);
    if (!listing) {
        std::vector<std::string> inputs = model_inputs(params);
        inputs.insert(inputs.end(), {o.prompts.jsonl, verb.value_of("-f")});
        require_files(o, files, inputs);
    }
    const auto log = route_llama_log(params.verbosity > 0);
    gguf::require_moe(params.model.path);
    const interrupt_guard guard;
    if (listing) {
        list_tensors(params, *log, o, verb);
    } else {
        record_prompts(verb, o, params, *log, files);
    }
}

}  // namespace

void add_run(CLI::App & app) {
    auto verb =
        std::make_shared<model_verb>("run", "run a prompt and record which experts it uses", llama_purpose::generate);
    const auto o   = std::make_shared<run_options>();
    CLI::App & own = verb->own();
    add_prompt_options(own, o->prompts);
    own.add_option("-o,--output", o->output.path, "the trace (default: moescope.run.<pid>.moetrace)")
        ->type_name("FILE");
    own.add_flag("--force", o->output.force, "replace an existing file");
    own.add_option("--capture", o->capture,
                   "what to record: ids,weights,weights-raw,logits,probs,selection,norms,gate-input,"
                   "access, or all (default: ids,weights); also gram,peaks,runner-up, which all leaves out")
        ->type_name("LIST");
    own.add_option("--layers", o->layers, "only these layers, e.g. 0,20-24")->type_name("LIST");
    add_mask_options(own, o->mask);
    own.add_option("--last-layer", o->last_layer,
                   "rows that the last layer computes: all (default), sample:N per prompt, or requested "
                   "(the last token's only, which saves time in the language head)")
        ->type_name("ROWS");
    o->log_option = own.add_option("--log", o->log,
                                   "also write the expert selection log during the run "
                                   "(default: moe_expert_selection.log)")
                        ->expected(0, 1)
                        ->type_name("[FILE]");
    own.add_flag("--counts-only", o->counts_only, "keep selection counts per expert instead of rows");
    own.add_flag("--f16", o->f16, "store values in half precision");
    own.add_option("--max-size", o->max_size, "start a new part of the trace at this size, e.g. 500M")
        ->type_name("BYTES");
    own.add_option("--way", o->way, "how to capture: probes (default) or callback (slower, same results)")
        ->check(CLI::IsMember({"probes", "callback"}))
        ->type_name("WAY");
    o->list_option = own.add_option("--list-tensors", o->list_tensors,
                                    "print name, op, type and shape of every node of the "
                                    "graph (or of those that match the pattern, e.g. 'ffn_moe_*-3') and exit")
                         ->expected(0, 1)
                         ->type_name("[PATTERN]");
    own.add_flag("-q,--quiet", o->quiet, "no notes, no progress");
    add_examples(own, {{"moescope run -m model.gguf -p 'To be, or not to be' -n 32 -o run.moetrace",
                        "one prompt, and 32 tokens that the model adds"},
                       {"moescope run -m model.gguf --jsonl prompts.jsonl --label-key domain -n 16",
                        "many prompts; each is labelled with its domain"}});
    model_verb::add(app, verb, [verb, o] { run_run(*verb, *o); });
}

}  // namespace moescope::cli
