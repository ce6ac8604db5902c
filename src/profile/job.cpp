#include "profile/job.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>

#include <unistd.h>

#include <fmt/format.h>

#include "common.h"

#include "capture/session.hpp"
#include "core/error.hpp"
#include "core/fan_out.hpp"
#include "gguf/fingerprint.hpp"
#include "gguf/head.hpp"
#include "infer/chat.hpp"
#include "infer/model_identity.hpp"
#include "io/hash.hpp"
#include "io/path.hpp"
#include "stats/merge.hpp"
#include "trace/format.hpp"

namespace moescope::profile {

namespace {

using clock = std::chrono::steady_clock;

double since(clock::time_point t) {
    return std::chrono::duration<double>(clock::now() - t).count();
}

stats::gate_kind gate_of(const profile_options & o) {
    return o.gate == "raw" ? stats::gate_kind::raw : stats::gate_kind::final;
}

capture::capture_options what_to_capture(const profile_options & o) {
    column_set what = column::ids | column::weights | column::norms;
    if (gate_of(o) == stats::gate_kind::raw) {
        what = what | column::weights_raw;
    }
    return {what, layer_filter(o.layers),
            o.way == "callback" ? capture::mechanism::eval_callback : capture::mechanism::probes};
}

stats::corpus_selection selection_of(const profile_options & o) {
    stats::corpus_selection s;
    if (o.text.empty()) {
        s.fields = {o.corpus.prompt_key, o.corpus.response_key, o.corpus.label_key};
    }
    s.limit = o.corpus.limit;
    if (o.corpus.shuffle) {
        s.shuffle_seed = o.corpus.shuffle_seed;
    }
    s.shard    = o.shard;
    s.n_shards = o.n_shards;
    return s;
}

}  // namespace

std::string moestats_path(const std::string & json_path) {
    return io::without_suffix(json_path, ".json") + ".moestats";
}

struct profile_job::capture_state {
    capture_state(const profile_options & o, routing_sink & sink) {
        if (o.way != "none") {
            session.emplace(what_to_capture(o), [&sink](uint32_t stream) {
                return stream == 1 ? std::make_unique<fan_out>(sink) : nullptr;  // the job has one context
            });
        }
    }
    void read_pending() {
        if (session) {
            session->read_pending();
        }
    }
    std::optional<capture::session> session;
};

profile_job::profile_job(const profile_options & o, common_params & params, infer::llama_log & log, std::string path,
                         profile_events events)
    : options_(o),
      path_(std::move(path)),
      events_(std::move(events)) {
    read_corpus();
    std::set<std::string> labels;
    for (const infer::sample & s : corpus_.samples) {
        labels.insert(s.label);
    }
    if (!o.corpus.label_key.empty()) {
        result_.labels.assign(labels.begin(), labels.end());
    }
    const auto n_labels = static_cast<uint32_t>(result_.labels.size());
    stage_              = stats::saliency(gate_of(o), n_labels);
    sums_               = stats::saliency(gate_of(o), n_labels);
    capture_            = std::make_unique<capture_state>(o, stage_);

    llama_context_params context = llama_context_default_params();
    if (capture_->session) {
        capture_->session->prepare(context);
    }
    params.cb_eval           = context.cb_eval;
    params.cb_eval_user_data = context.cb_eval_user_data;
    engine_                  = std::make_unique<infer::engine>(params, log, events_.interrupted);
    if (std::any_of(corpus_.samples.begin(), corpus_.samples.end(),
                    [](const auto & x) { return !x.messages.empty(); })) {
        chat_ = std::make_unique<infer::chat_renderer>(engine_->model(), params, o.jinja);
    }
    if (!o.text.empty()) {
        cut_windows();
    }
    describe(params);
    if (o.resume) {
        try_resume();
    }
}

profile_job::~profile_job() = default;

void profile_job::read_corpus() {
    if (!options_.text.empty()) {
        text_         = infer::read_text_file(options_.text);
        corpus_.bytes = text_.size();
        corpus_.hash  = io::hash_bytes(text_.data(), text_.size());
        return;
    }
    corpus_ = infer::read_jsonl(options_.jsonl, options_.corpus);
    events_.read(corpus_, options_.jsonl);
}

// Windows of the context's length, each beginning as the model wants a text to begin.
void profile_job::cut_windows() {
    const std::vector<int32_t> all    = engine_->tokenize(text_);
    const std::vector<int32_t> prefix = engine_->tokenize("");  // BOS, where the model has one
    const size_t               skip   = std::min(prefix.size(), all.size());
    const size_t               step   = engine_->n_ctx() - std::min<size_t>(prefix.size(), engine_->n_ctx() - 1);
    for (size_t at = skip; at < all.size(); at += step) {
        std::vector<int32_t> window = prefix;
        window.insert(window.end(), all.begin() + static_cast<ptrdiff_t>(at),
                      all.begin() + static_cast<ptrdiff_t>(std::min(all.size(), at + step)));
        windows_.push_back(std::move(window));
        if (options_.corpus.limit > 0 && windows_.size() == options_.corpus.limit) {
            break;
        }
    }
    if (windows_.empty()) {
        throw error("the file holds no text").in(options_.text);
    }
    for (uint64_t i = 0; i < windows_.size(); ++i) {
        corpus_.samples.emplace_back();
        corpus_.samples.back().line = i + 1;
    }
    text_.clear();
    text_.shrink_to_fit();
}

void profile_job::describe(const common_params & params) {
    result_.model             = infer::describe_model(engine_->model(), params.model.path);
    result_.model_fingerprint = gguf::fingerprint(params.model.path);
    result_.gate              = gate_of(options_);
    std::string lora;
    for (const auto & adapter : params.lora_adapters) {
        lora += (lora.empty() ? "" : ",") + io::base_name(adapter.path) + fmt::format(":{}", adapter.scale);
    }
    result_.options      = {{"context", std::to_string(engine_->n_ctx())},
                            {"last_layer", infer::logit_rows(options_.last_layer).text()},
                            {"layers", options_.layers.empty() ? "all" : options_.layers},
                            {"lora", lora}};
    result_.how_computed = {engine_->n_ubatch(), static_cast<uint32_t>(params.n_parallel),
                            infer::corpus_runner::unit_size};
    stats::corpus_part part;
    part.name       = io::base_name(options_.text.empty() ? options_.jsonl : options_.text);
    part.bytes      = corpus_.bytes;
    part.hash       = corpus_.hash;
    part.selection  = selection_of(options_);
    part.empty      = corpus_.n_empty;
    part.malformed  = corpus_.malformed.size();
    result_.corpora = {part};
}

void profile_job::try_resume() {
    if (::access(path_.c_str(), F_OK) != 0) {
        events_.nothing_to_resume(path_);
        return;
    }
    const stats::moestats before = stats::read_moestats(path_);
    std::string           d      = stats::difference(before, result_);
    if (d.empty() && before.how_computed != result_.how_computed) {
        d = "the ubatch size (-ub) or the number of sequences (-np) differs";
    }
    if (d.empty() && before.labels != result_.labels) {
        d = "the labels differ";
    }
    const auto & mine = result_.corpora.front();
    if (d.empty() && (before.corpora.size() != 1 || before.corpora[0].hash != mine.hash ||
                      before.corpora[0].bytes != mine.bytes || before.corpora[0].selection != mine.selection)) {
        d = "the corpus, or what is taken of it, differs";
    }
    if (!d.empty()) {
        throw error("this profile cannot be resumed: " + d)
            .in(path_)
            .fix("give the options it was begun with, or another --output");
    }
    result_ = before;
    sums_.add(before.blocks);
    events_.resumed(result_.samples());
}

std::vector<int32_t> profile_job::tokenize(const infer::sample & s) const {
    if (!windows_.empty()) {
        return windows_[s.line - 1];
    }
    return engine_->tokenize(s.messages.empty() ? s.text : chat_->render(s.messages));
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
        labels.push_back(label_index(corpus_.samples[i].label));
    }
    stage_.set_sequence_labels(std::move(labels));
}

infer::corpus_runner profile_job::make_runner() {
    infer::runner_options how;
    how.n_seq    = result_.how_computed.n_seq;
    how.rows     = infer::logit_rows(options_.last_layer);
    how.shard    = options_.shard;
    how.n_shards = options_.n_shards;
    infer::corpus_runner::hooks hooks;
    hooks.tokenize = [this](const infer::sample & s) { return tokenize(s); };
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
    return {*engine_, corpus_.samples, how, hooks, {part.next_unit, part.next_group}};
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
        const uint64_t line = corpus_.samples[i].line;
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

bool profile_job::run() {
    stats::corpus_part & part = result_.corpora.front();
    if (part.complete) {
        events_.was_complete();
        return true;
    }
    infer::corpus_runner    runner = make_runner();
    const uint64_t          total  = runner.samples_left();
    const clock::time_point begin  = clock::now();
    uint64_t                done = 0, tokens = 0, unsaved = 0;
    infer::group_result     group;
    bool                    whole = true;
    while (whole && runner.next(group)) {
        if (group.aborted) {
            whole = false;
            break;
        }
        take(group);
        part.next_unit   = runner.position().unit;
        part.next_group  = runner.position().group;
        const uint64_t n = group.computed.size() + group.failed.size();
        done += n;
        unsaved += n;
        tokens += group.n_tokens;
        const double seconds = since(begin);
        events_.progress(done, total, tokens, seconds);
        say_estimate(done, seconds, total - std::min(total, done));
        if (unsaved >= options_.save_every) {
            result_.blocks = sums_.blocks();
            events_.save(result_);
            unsaved = 0;
        }
        whole = !events_.interrupted();
    }
    if (whole || runner.samples_left() == 0) {
        part.complete  = true;
        part.next_unit = part.next_group = 0;
        whole                            = true;
    }
    result_.blocks = sums_.blocks();
    events_.save(result_);
    return whole;
}

}  // namespace moescope::profile
