#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "infer/corpus.hpp"
#include "infer/engine.hpp"
#include "infer/logit_rows.hpp"
#include "infer/packing.hpp"

namespace moescope::infer {

// A place in a corpus between two groups: where a resume goes on.
struct corpus_position {
    uint64_t unit  = 0;  // stretch of unit_size samples
    uint64_t group = 0;  // within it
};

struct runner_options {
    uint32_t   n_seq = 64;  // samples that may share a ubatch
    logit_rows rows;
    uint64_t   shard      = 0;  // computes the units whose number is shard modulo n_shards
    uint64_t   n_shards   = 1;
    uint32_t   max_tokens = 0;  // longer samples are cut; 0: to the context
};

// What one group came to.
struct group_result {
    bool                  aborted = false;  // interrupted: nothing of it counts, the position stays before it
    std::vector<uint32_t> computed;         // indices of samples
    std::vector<uint32_t> failed;           // did not decode even alone
    uint64_t              n_tokens = 0, n_truncated = 0;
    std::string           why;  // of the first failure
};

// Computes a corpus group by group. Samples are packed within fixed stretches of unit_size samples, so that what is in a
// group depends on the corpus and the options alone: ranks, resumes and repeats compute the same.
class corpus_runner {
public:
    static constexpr uint32_t unit_size = 256;

    struct hooks {
        std::function<std::vector<int32_t>(const sample &)> tokenize;
        std::function<void(const std::vector<uint32_t> &)>  begin;    // samples by sequence, before they are computed
        std::function<void()>                               commit;   // they were computed: their rows count
        std::function<void()>                               discard;  // they were not: what came of them does not count
        // Computes a group in the engine's place, from empty memory; batches of at most n_ubatch tokens. Empty: the engine.
        std::function<decoded(const std::vector<std::vector<batch_token>> & batches)> compute = {};
    };

    corpus_runner(engine & e, const std::vector<sample> & samples, runner_options options, hooks h,
                  corpus_position start);

    // Computes the next group; false: there is none.
    bool next(group_result & result);

    corpus_position position() const { return at_; }  // after the last whole group
    uint64_t        samples_left() const;             // of this shard, an upper bound

private:
    bool     load_unit();
    decoded  compute(const packed_group & group);
    decoded  compute_by_engine(const std::vector<std::vector<batch_token>> & batches);
    void     compute_without_bad(const packed_group & group, group_result & result);
    void     keep(const packed_group & group, group_result & result);
    uint32_t limit() const;

    std::vector<std::vector<batch_token>> batches_of(const packed_group & group) const;

    const std::vector<int32_t> & tokens(uint32_t index) const { return tokens_[index - first_]; }

    engine &                          engine_;
    const std::vector<sample> &       samples_;
    runner_options                    options_;
    hooks                             hooks_;
    corpus_position                   at_;
    bool                              loaded_ = false;
    uint32_t                          first_  = 0;  // index of the unit's first sample
    std::vector<std::vector<int32_t>> tokens_;      // of the unit's samples
    std::vector<bool>                 truncated_;
    std::vector<packed_group>         groups_;  // of the unit, indices into samples_
};

}  // namespace moescope::infer
