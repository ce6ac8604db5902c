#pragma once

// The work of `moescope evaluate`: held-out text through a model and through what it is to become, into sums of the damage.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/evaluation.hpp"
#include "evaluate/group_pass.hpp"
#include "evaluate/held_out.hpp"
#include "evaluate/paired_models.hpp"
#include "evaluate/sample_units.hpp"
#include "infer/corpus_runner.hpp"

struct common_params;

namespace moescope::evaluate {

struct job_options {
    held_out_options text;
    plan_request     plans;
    uint64_t         shard = 0, n_shards = 1;
    std::string      sums_path;  // of the .moeval file to resume from; may be empty
    bool             resume     = false;
    double           save_every = 60;  // seconds between checkpoints
    double           budget     = 0;   // seconds that computing may take; 0: as long as it takes
    std::string      dump;             // folder for the logits; empty: none
};

// What a job tells while it works; the caller decides what people see of it. All are called from the job's own thread.
struct evaluation_events {
    std::function<void(const infer::corpus & c, const std::string & file)> read;  // not for plain text
    std::function<void(const std::string & path)>                          nothing_to_resume;
    std::function<void(uint64_t samples, size_t plans)> resumed;  // after so many samples, and plans of the next group
    std::function<void(uint64_t line, const std::string & why)> skipped;    // does not decode; why may be empty
    std::function<void(double seconds)>                         estimated;  // for what is left; once, if over 10 s
    std::function<void()>                                       was_complete;
    // Samples done of all that this run computes (of a group at work the share of its plans), tokens through both models.
    std::function<void(double done, uint64_t total, uint64_t tokens, double seconds)> progress;
    std::function<bool()>                   interrupted;  // asked often; true: stop soon
    std::function<void(const evaluation &)> save;         // keep this checkpoint
};

class logit_dump;

enum class job_end { complete, interrupted, out_of_budget };

class evaluation_job {
public:
    // Makes the plans, reads the text, loads the model, resumes where asked. Every event must be set.
    evaluation_job(const job_options & o, common_params & params, infer::llama_log & log, evaluation_events events);
    ~evaluation_job();

    // Computes what is left; the last checkpoint holds everything up to its end.
    job_end run();

    const evaluation & result() const { return result_; }

private:
    struct progress_state;

    void                 describe(const common_params & params);
    void                 resume();
    infer::corpus_runner make_runner();
    infer::decoded       compute(const token_batches & batches);
    void                 commit();
    void                 count(const infer::group_result & g, infer::corpus_position now);
    void                 plan_done(size_t plans);
    bool                 stop() const;
    void                 save();

    const job_options &             options_;
    evaluation_events               events_;
    evaluation                      result_;
    held_out                        text_;
    sample_units                    units_;
    std::unique_ptr<progress_state> progress_;
    std::unique_ptr<paired_models>  models_;
    std::unique_ptr<logit_dump>     dump_;
    std::unique_ptr<group_pass>     pass_;
    std::vector<uint32_t>           group_;  // samples of the group at work
    group_sums                      group_sums_;
};

}  // namespace moescope::evaluate
