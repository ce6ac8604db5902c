#pragma once

// The work of `moescope profile`: a corpus through a model into saliency sums, with checkpoints.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "infer/corpus.hpp"
#include "infer/corpus_runner.hpp"
#include "infer/engine.hpp"
#include "profile/job_corpus.hpp"
#include "profile/options.hpp"
#include "stats/moestats.hpp"

struct common_params;

namespace moescope::profile {

// What a job tells while it works; the caller decides what people see of it. All are called from the job's own thread.
struct profile_events {
    // The corpus is read, with the lines that are no samples; not called for plain text.
    std::function<void(const infer::corpus & c, const std::string & file)> read;
    std::function<void(const std::string & path)>                          nothing_to_resume;  // no such checkpoint
    std::function<void(uint64_t samples)>                                  resumed;            // after so many
    std::function<void(uint64_t line, const std::string & why)> skipped;    // does not decode; why may be empty
    std::function<void(double seconds, uint64_t samples)>       estimated;  // once, where it takes longer than a minute
    std::function<void()>                                       was_complete;  // nothing is left to compute
    std::function<void(const std::string & why)>                no_runner_up;  // so there is no removal error
    // Samples done of all that this run computes, tokens, and seconds so far.
    std::function<void(uint64_t done, uint64_t total, uint64_t tokens, double seconds)> progress;
    std::function<bool()>                        interrupted;  // asked often; true: stop soon
    std::function<void(const stats::moestats &)> save;         // keep this checkpoint
};

// A profile on its way.
class profile_job {
public:
    // `path`: of the checkpoint, a .moestats file. Loads the model, reads the corpus, resumes where asked. Every event must
    // be set.
    profile_job(const job_options & o, common_params & params, infer::llama_log & log, std::string path,
                profile_events events);
    ~profile_job();

    // Computes what is left. False: interrupted; the checkpoint holds everything up to then.
    bool run();

    const stats::moestats & result() const { return result_; }

private:
    struct capture_state;
    struct run_totals;

    column_set           prepare_columns(common_params & params) const;
    void                 describe(const common_params & params);
    void                 resume();
    infer::corpus_runner make_runner();
    void                 take(const infer::group_result & g);
    void                 count(const infer::group_result & g, infer::corpus_position now, run_totals & t);
    void                 save();
    void                 begin_group(const std::vector<uint32_t> & samples);
    uint32_t             label_index(const std::string & label) const;
    void                 say_estimate(uint64_t samples, double elapsed, uint64_t left);

    const job_options &            options_;
    std::string                    path_;
    profile_events                 events_;
    job_corpus                     corpus_;
    const stats::sum_set           sums_of_;
    stats::moestats                result_;
    stats::saliency                stage_, sums_;  // of the group at work, and of all before it
    std::unique_ptr<capture_state> capture_;
    std::unique_ptr<infer::engine> engine_;
    bool                           estimated_ = false;
};

}  // namespace moescope::profile
