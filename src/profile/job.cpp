#include "profile/job.hpp"

#include <algorithm>
#include <chrono>
#include <optional>

#include <fmt/format.h>

#include "common.h"

#include "capture/session.hpp"
#include "core/error.hpp"
#include "core/fan_out.hpp"
#include "gguf/fingerprint.hpp"
#include "infer/model_identity.hpp"
#include "infer/runner_up.hpp"
#include "io/path.hpp"
#include "profile/checkpoint.hpp"

namespace moescope::profile {

namespace {

using clock = std::chrono::steady_clock;

double since(clock::time_point t) {
    return std::chrono::duration<double>(clock::now() - t).count();
}

// Only probes can change a graph, and see what lies between two of its nodes.
stats::sum_set possible_sums(const job_options & o) {
    return o.capture_by == capture::mechanism::probes ? o.sums : stats::sum_set::norms;
}

}  // namespace

struct profile_job::capture_state {
    capture_state(const job_options & o, column_set what, routing_sink & sink) {
        if (o.capture_by) {
            session.emplace(capture::capture_options{what, layer_filter(o.layers), *o.capture_by, o.mask},
                            [&sink](uint32_t stream) {
                                return stream == 1 ? std::make_unique<fan_out>(sink)
                                                   : nullptr;  // the job has one context
                            });
        } else if (!o.mask.empty()) {
            capture::capture_options only_masked;
            only_masked.mask = o.mask;
            session.emplace(only_masked);
        }
    }
    void read_pending() {
        if (session) {
            session->read_pending();
        }
    }
    std::optional<capture::session> session;
};

profile_job::profile_job(const job_options & o, common_params & params, infer::llama_log & log, std::string path,
                         profile_events events)
    : options_(o),
      path_(std::move(path)),
      events_(std::move(events)),
      corpus_(o),
      sums_of_(possible_sums(o)) {
    if (!o.jsonl.empty()) {
        events_.read(corpus_.file(), o.jsonl);
    }
    result_.labels      = corpus_.labels();
    const auto n_labels = static_cast<uint32_t>(result_.labels.size());
    stage_              = stats::saliency(o.gate, n_labels, stats::missing_columns::refused, sums_of_);
    sums_               = stats::saliency(o.gate, n_labels, stats::missing_columns::refused, sums_of_);
    capture_            = std::make_unique<capture_state>(o, prepare_columns(params), stage_);

    llama_context_params context = llama_context_default_params();
    if (capture_->session) {
        capture_->session->prepare(context);
    }
    params.cb_eval           = context.cb_eval;
    params.cb_eval_user_data = context.cb_eval_user_data;
    engine_                  = std::make_unique<infer::engine>(params, log, events_.interrupted);
    corpus_.prepare(*engine_, params);
    describe(params);
    if (o.resume) {
        resume();
    }
}

profile_job::~profile_job() = default;

// What to capture; the model is loaded with the runner-up where that can be.
column_set profile_job::prepare_columns(common_params & params) const {
    column_set what = column::ids | column::weights | column::norms;
    if (options_.gate == stats::gate_kind::raw) {
        what = what | column::weights_raw;
    }
    if (sums_of_ == stats::sum_set::norms) {
        return what;
    }
    what = what | column::weights_raw | column::probs | column::gram | column::peaks;
    if (const std::string why = infer::load_with_runner_up(params); !why.empty()) {
        events_.no_runner_up(why);
        return what;
    }
    return what | column::runner_up;
}

void profile_job::describe(const common_params & params) {
    result_.model             = infer::describe_model(engine_->model(), params.model.path);
    result_.model_fingerprint = gguf::fingerprint(params.model.path);
    result_.shape_fingerprint = gguf::shape_fingerprint(gguf::model_file(params.model.path));
    result_.gate              = options_.gate;
    std::string lora;
    for (const auto & adapter : params.lora_adapters) {
        lora += (lora.empty() ? "" : ",") + io::base_name(adapter.path) + fmt::format(":{}", adapter.scale);
    }
    result_.options = {{"context", std::to_string(engine_->n_ctx())},
                       {"last_layer", options_.rows.text()},
                       {"layers", options_.layers.empty() ? "all" : options_.layers},
                       {"lora", lora},
                       {"sums", to_string(sums_of_)}};
    if (!options_.mask.empty()) {
        result_.options.emplace_back("mask", options_.mask.to_text());
    }
    result_.how_computed = {engine_->n_ubatch(), static_cast<uint32_t>(params.n_parallel),
                            infer::corpus_runner::unit_size};
    result_.corpora      = {corpus_.part()};
}

void profile_job::resume() {
    const auto before = read_checkpoint(path_, result_);
    if (!before) {
        events_.nothing_to_resume(path_);
        return;
    }
    result_ = *before;
    sums_.add(before->blocks);
    events_.resumed(result_.samples());
}

uint32_t profile_job::label_index(const std::string & label) const {
    return static_cast<uint32_t>(std::lower_bound(result_.labels.begin(), result_.labels.end(), label) -
                                 result_.labels.begin());
}

void profile_job::begin_group(const std::vector<uint32_t> & samples) {
    stage_.clear();
    if (result_.labels.empty()) {
        return;
    }
    std::vector<uint32_t> labels;
    for (const uint32_t i : samples) {
        labels.push_back(label_index(corpus_.samples()[i].label));
    }
    stage_.set_sequence_labels(std::move(labels));
}

infer::corpus_runner profile_job::make_runner() {
    infer::runner_options how;
    how.n_seq    = result_.how_computed.n_seq;
    how.rows     = options_.rows;
    how.shard    = options_.shard;
    how.n_shards = options_.n_shards;
    infer::corpus_runner::hooks hooks;
    hooks.tokenize = [this](const infer::sample & s) { return corpus_.tokenize(s); };
    hooks.begin    = [this](const std::vector<uint32_t> & samples) { begin_group(samples); };
    hooks.commit   = [this] {
        capture_->read_pending();
        sums_.add(stage_.blocks());
    };
    hooks.discard = [this] {
        capture_->read_pending();
        stage_.clear();
    };
    const stats::corpus_part & part = result_.corpora.front();
    return {*engine_, corpus_.samples(), how, hooks, {part.next_unit, part.next_group}};
}

void profile_job::take(const infer::group_result & g) {
    if (capture_->session && !capture_->session->failure().empty()) {
        throw error(capture_->session->failure());
    }
    stats::corpus_part & part = result_.corpora.front();
    part.samples += g.computed.size();
    part.tokens += g.n_tokens;
    part.truncated += g.n_truncated;
    for (const uint32_t i : g.failed) {
        const uint64_t line = corpus_.samples()[i].line;
        part.failed.push_back(line);
        events_.skipped(line, g.why);
    }
}

void profile_job::say_estimate(uint64_t samples, double elapsed, uint64_t left) {
    constexpr double long_enough_to_judge = 3, worth_saying = 60;
    if (estimated_ || elapsed < long_enough_to_judge || samples == 0) {
        return;
    }
    estimated_        = true;
    const double rest = elapsed / double(samples) * double(left);
    if (rest > worth_saying) {
        events_.estimated(rest, left);
    }
}

// What one run has computed so far.
struct profile_job::run_totals {
    clock::time_point begin = clock::now();
    uint64_t          total = 0;  // samples that it may compute
    uint64_t          done = 0, tokens = 0, unsaved = 0;
};

void profile_job::save() {
    result_.blocks = sums_.blocks();
    events_.save(result_);
}

void profile_job::count(const infer::group_result & g, infer::corpus_position now, run_totals & t) {
    take(g);
    result_.corpora.front().next_unit  = now.unit;
    result_.corpora.front().next_group = now.group;
    const uint64_t n                   = g.computed.size() + g.failed.size();
    t.done += n;
    t.unsaved += n;
    t.tokens += g.n_tokens;
    const double seconds = since(t.begin);
    events_.progress(t.done, t.total, t.tokens, seconds);
    say_estimate(t.done, seconds, t.total - std::min(t.total, t.done));
    if (t.unsaved >= options_.save_every) {
        save();
        t.unsaved = 0;
    }
}

bool profile_job::run() {
    stats::corpus_part & part = result_.corpora.front();
    if (part.complete) {
        events_.was_complete();
        return true;
    }
    infer::corpus_runner runner = make_runner();
    infer::group_result  group;
    run_totals           totals;
    bool                 whole = true;
    totals.total               = runner.samples_left();
    while (whole && runner.next(group)) {
        if (group.aborted) {
            whole = false;
            break;
        }
        count(group, runner.position(), totals);
        whole = !events_.interrupted();
    }
    if (whole || runner.samples_left() == 0) {
        part.complete  = true;
        part.next_unit = part.next_group = 0;
        whole                            = true;
    }
    save();
    return whole;
}

}  // namespace moescope::profile
