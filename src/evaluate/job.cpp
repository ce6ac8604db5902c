#include "evaluate/job.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include <unistd.h>

#include "common.h"
#include "llama.h"

#include "core/error.hpp"
#include "evaluate/logit_dump.hpp"
#include "gguf/fingerprint.hpp"
#include "infer/model_identity.hpp"
#include "io/hash.hpp"
#include "io/path.hpp"

namespace moescope::evaluate {

namespace {

using clock = std::chrono::steady_clock;

double since(clock::time_point t) {
    return std::chrono::duration<double>(clock::now() - t).count();
}

std::string hex(uint64_t n) {
    return fmt::format("{:016x}", n);
}

// The sums of all plans stay below this, whatever the corpus.
constexpr size_t max_sums_bytes = size_t{64} << 20;

uint32_t units_per_label(size_t n_plans, size_t n_labels) {
    const size_t fit = max_sums_bytes / (n_plans * n_labels * sizeof(damage_sums));
    return static_cast<uint32_t>(std::clamp<size_t>(fit, 32, 1024));
}

std::string lora_text(const common_params & params) {
    std::string text;
    for (const auto & adapter : params.lora_adapters) {
        text += (text.empty() ? "" : ",") + io::base_name(adapter.path) + fmt::format(":{}", adapter.scale);
    }
    return text;
}

std::string plans_text(const std::vector<plan> & plans) {
    std::string text;
    for (const plan & p : plans) {
        text += p.name + '\t' + p.mask.to_text() + '\n';
    }
    return text;
}

}  // namespace

struct evaluation_job::progress_state {
    clock::time_point begin = clock::now(), saved = clock::now();
    uint64_t          total = 0;  // samples that this run may compute
    uint64_t          done = 0, tokens = 0;
    uint64_t          group_tokens = 0;  // of the group at work
    size_t            plans_before = 0;  // of the group at work, done by an earlier run
    bool              estimated    = false;
};

evaluation_job::evaluation_job(const job_options & o, common_params & params, infer::llama_log & log,
                               evaluation_events events)
    : options_(o),
      events_(std::move(events)),
      text_(o.text),
      progress_(std::make_unique<progress_state>()) {
    result_.plans = make_plans(o.plans);
    if (!o.dump.empty() && result_.plans.size() > 1) {
        throw usage_error("--dump-logits takes one plan");
    }
    if (!o.text.jsonl.empty()) {
        events_.read(text_.file(), o.text.jsonl);
    }
    models_ = std::make_unique<paired_models>(params, o.plans.against, log, [this] { return stop(); });
    text_.prepare(models_->engine(), params);
    describe(params);
    if (o.resume) {
        resume();
    }
    pass_options how;
    how.n_threads = static_cast<size_t>(std::max(1, params.cpuparams.n_threads));
    how.skip      = [this](size_t n) { return text_.skip(n); };
    how.done      = [this](size_t plans) { plan_done(plans); };
    how.stop      = [this] { return stop(); };
    if (!o.dump.empty()) {
        dump_      = std::make_unique<logit_dump>(o.dump, models_->n_vocab());
        how.on_row = [this](const compared_row & row) { dump_->add(group_[row.sequence], row); };
    }
    pass_ = std::make_unique<group_pass>(*models_, result_.plans, std::move(how));
}

evaluation_job::~evaluation_job() = default;

void evaluation_job::describe(const common_params & params) {
    const infer::corpus &         c = text_.file();
    const infer::corpus_options & f = options_.text.corpus;
    const infer::engine &         e = models_->engine();
    result_.model                   = infer::describe_model(e.model(), params.model.path);
    result_.labels                  = text_.labels();
    result_.corpus         = io::base_name(options_.text.text.empty() ? options_.text.jsonl : options_.text.text);
    result_.corpus_samples = c.samples.size();
    result_.malformed      = c.malformed.size();
    result_.empty          = c.n_empty;
    result_.shards         = {options_.shard};
    result_.n_shards       = options_.n_shards;
    result_.label_samples.resize(result_.labels.size());
    const std::string plans   = plans_text(result_.plans);
    const std::string against = options_.plans.against.empty() ? "" : hex(gguf::fingerprint(options_.plans.against));
    const std::string shuffle = f.shuffle ? std::to_string(f.shuffle_seed) : "no";
    result_.identity          = {
                 {"the model", hex(gguf::fingerprint(params.model.path))},
                 {"the other model", against},
                 {"the adapters (--lora)", lora_text(params)},
                 {"what is evaluated", hex(io::hash_bytes(plans.data(), plans.size()))},
                 {"the corpus", hex(c.hash)},
                 {"what is taken of the corpus",
         options_.text.text.empty() ? fmt::format("{} {} {}", f.prompt_key, f.response_key, f.label_key) : "windows"},
                 {"--limit", std::to_string(f.limit)},
                 {"--shuffle-seed", shuffle},
                 {"--skip", options_.text.skip ? std::to_string(*options_.text.skip) : "default"},
                 {"the context (-c)", fmt::format("{} {}", params.n_ctx, e.n_ctx())},
                 {"the ubatch size (-ub) or the number of sequences (-np)",
                  fmt::format("{} {}", e.n_ubatch(), params.n_parallel)},
    };
    units_             = make_units(text_.label_of_samples(), static_cast<uint32_t>(result_.labels.size()),
                                    units_per_label(result_.plans.size(), result_.labels.size()));
    result_.unit_label = units_.label;
    result_.sums.assign(result_.plans.size(), std::vector<damage_sums>(units_.size()));
}

void evaluation_job::resume() {
    if (::access(options_.sums_path.c_str(), F_OK) != 0) {
        events_.nothing_to_resume(options_.sums_path);
        return;
    }
    evaluation  before = read_moeval(options_.sums_path);
    std::string what   = difference(before, result_);
    if (what.empty() && (before.shards != result_.shards || before.n_shards != result_.n_shards)) {
        what = "the shard";
    }
    if (!what.empty() || before.unit_label != result_.unit_label) {
        throw error("this evaluation cannot be resumed: " + (what.empty() ? "the text" : what) + " differs")
            .in(options_.sums_path)
            .fix("give the options it was begun with, or another --output");
    }
    result_           = std::move(before);
    group_            = result_.group;
    group_sums_.plans = result_.group_plans;
    if (!result_.complete) {
        events_.resumed(result_.samples, group_sums_.plans.size());
    }
}

bool evaluation_job::stop() const {
    return events_.interrupted() || (options_.budget > 0 && since(progress_->begin) > options_.budget);
}

infer::corpus_runner evaluation_job::make_runner() {
    infer::runner_options how;
    how.n_seq    = static_cast<uint32_t>(llama_n_seq_max(models_->engine().context()));
    how.shard    = options_.shard;
    how.n_shards = options_.n_shards;
    infer::corpus_runner::hooks hooks;
    hooks.tokenize = [this](const infer::sample & s) { return text_.tokenize(s); };
    hooks.begin    = [this](const std::vector<uint32_t> & samples) {
        if (samples != group_) {  // else it goes on with a group that an earlier run began
            group_            = samples;
            group_sums_.plans = {};
        }
        progress_->plans_before = group_sums_.plans.size();
    };
    hooks.compute = [this](const token_batches & batches) {
        progress_->group_tokens = 0;
        for (const auto & batch : batches) {
            progress_->group_tokens += batch.size();
        }
        return pass_->compute(batches, group_sums_);
    };
    hooks.commit  = [this] { commit(); };
    hooks.discard = [] {};  // the next group begins anew, and a group that was stopped goes into the checkpoint
    return {models_->engine(), text_.samples(), how, hooks, {result_.next_unit, result_.next_group}};
}

void evaluation_job::commit() {
    for (size_t p = 0; p < group_sums_.plans.size(); ++p) {
        for (size_t s = 0; s < group_.size(); ++s) {
            result_.sums[p][units_.of_sample[group_[s]]] += group_sums_.plans[p][s];
        }
    }
    for (size_t s = 0; s < group_.size(); ++s) {
        const bool any = group_sums_.plans.front()[s].tokens > 0;
        result_.label_samples[units_.label[units_.of_sample[group_[s]]]] += any ? 1 : 0;
    }
    group_.clear();
    group_sums_.plans.clear();
}

void evaluation_job::plan_done(size_t plans) {
    constexpr double long_enough_to_judge = 2, worth_saying = 10;
    progress_state & t        = *progress_;
    const double     seconds  = since(t.begin);
    const double     of_group = double(group_.size()) / double(result_.plans.size());
    const double     computed = double(t.done) + of_group * double(plans - std::min(plans, t.plans_before));
    const uint64_t   passes   = 1 + plans - std::min(plans, t.plans_before);
    events_.progress(double(t.done) + of_group * double(plans), t.total, t.tokens + passes * t.group_tokens, seconds);
    if (!t.estimated && seconds > long_enough_to_judge && computed > 0) {
        t.estimated       = true;
        const double left = seconds / computed * (double(t.total) - computed);
        if (left > worth_saying) {
            events_.estimated(left);
        }
    }
    if (since(t.saved) > options_.save_every && plans < result_.plans.size()) {
        save();
    }
}

void evaluation_job::count(const infer::group_result & g, infer::corpus_position now) {
    progress_state & t = *progress_;
    result_.samples += g.computed.size();
    result_.tokens += g.n_tokens;
    result_.truncated += g.n_truncated;
    result_.next_unit  = now.unit;
    result_.next_group = now.group;
    for (const uint32_t i : g.failed) {
        result_.failed.push_back(text_.samples()[i].line);
        events_.skipped(result_.failed.back(), g.why);
    }
    t.done += g.computed.size() + g.failed.size();
    t.tokens += g.n_tokens * (1 + result_.plans.size() - t.plans_before);
    events_.progress(double(t.done), t.total, t.tokens, since(t.begin));
    if (since(t.saved) > options_.save_every) {
        save();
    }
}

void evaluation_job::save() {
    result_.group       = group_;
    result_.group_plans = group_sums_.plans;
    events_.save(result_);
    progress_->saved = clock::now();
}

job_end evaluation_job::run() {
    if (result_.complete) {
        events_.was_complete();
        return job_end::complete;
    }
    infer::corpus_runner runner = make_runner();
    infer::group_result  group;
    *progress_       = {};
    progress_->total = runner.samples_left();
    bool stopped     = false;
    while (!stopped && runner.next(group)) {
        if (!group.aborted) {
            count(group, runner.position());
        }
        stopped = group.aborted || (stop() && runner.samples_left() > 0);
    }
    result_.complete = !stopped;
    if (result_.complete) {
        result_.next_unit = result_.next_group = 0;
        if (dump_) {
            dump_->finish();
        }
    }
    save();
    return result_.complete ? job_end::complete : events_.interrupted() ? job_end::interrupted : job_end::out_of_budget;
}

}  // namespace moescope::evaluate
