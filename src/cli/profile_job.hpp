#pragma once

// The work of `moescope profile`: a corpus through a model into saliency sums, with checkpoints.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/output.hpp"
#include "infer/corpus.hpp"
#include "infer/corpus_runner.hpp"
#include "infer/engine.hpp"
#include "stats/moestats.hpp"

struct common_params;

namespace moescope::cli {

struct profile_options {
    std::string           jsonl, text;
    std::string           output = "expert_stats.json";
    infer::corpus_options corpus;
    std::string           gate = "final", layers, last_layer = "all", way = "probes";
    uint64_t              save_every = 100;
    uint64_t              shard = 0, n_shards = 1;
    uint32_t              n_experts = 0;   // 0: not asked for
    bool                  resume = false, force = false, quiet = false, jinja = true;
};

// NAME.json -> NAME.moestats
std::string moestats_path(const std::string & json_path);

// A profile on its way.
class profile_job {
public:
    // `path`: of the .moestats file. Loads the model, reads the corpus, resumes where asked.
    profile_job(const profile_options & o, common_params & params, infer::llama_log & log, std::string path);
    ~profile_job();

    // Computes what is left. False: interrupted; the checkpoint holds everything up to then.
    bool run();

    const stats::moestats & result() const { return result_; }
    void                    save() const;      // writes the .moestats file
    double                  seconds() const { return seconds_; }

private:
    struct capture_state;

    void                 read_corpus(const common_params & params);
    void                 cut_windows();
    void                 describe(const common_params & params);
    void                 try_resume();
    infer::corpus_runner make_runner();
    std::vector<int32_t> tokenize(const infer::sample & s) const;
    void                 take(const infer::group_result & g);
    void                 begin_group(const std::vector<uint32_t> & samples);
    uint32_t             label_index(const std::string & label) const;
    void                 say_estimate(uint64_t samples, double elapsed, uint64_t left);

    const profile_options &                 options_;
    std::string                             path_;
    infer::corpus                           corpus_;
    std::string                             text_;               // of --text, until it is cut
    std::vector<std::vector<int32_t>>       windows_;            // of a text file; sample.line - 1 is the index
    stats::moestats                         result_;
    stats::saliency                         stage_, sums_;       // of the group at work, and of all before it
    std::unique_ptr<capture_state>          capture_;
    std::unique_ptr<infer::engine>          engine_;
    std::unique_ptr<class chat_holder>      chat_;
    double                                  seconds_ = 0;
    bool                                    estimated_ = false;
};

}  // namespace moescope::cli
