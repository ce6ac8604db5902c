#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace moescope::capture {

// Tokens of one sequence, one behind the other.
struct text_run {
    int32_t              first_pos = -1;
    std::vector<int32_t> tokens;

    // How many tokens of `run` it has at the same positions: 0 unless run begins in it, and has no other tokens there.
    size_t overlap(const text_run & run) const;
};

// What the contexts of one process generate and verify, so that a draft model's own context can tell: its drafts are what
// another context computes at the same positions. Any thread; `who` stands for a context.
class draft_board {
public:
    // It computes this as text that is generated; an empty run: as a prompt. samples: the position of the token that it is asked
    // to predict, -1 if none is.
    void post(const void * who, int32_t seq, text_run run, int32_t samples);
    // It removes what it posted from a position on.
    void cut(const void * who, int32_t seq, int32_t pos);
    void forget(const void * who);

    bool has_others(const void * who) const;
    // Whether another is asked to predict the token at this position.
    bool others_sample(const void * who, int32_t seq, int32_t pos) const;
    // Whether another has posted all of the run.
    bool others_have(const void * who, int32_t seq, const text_run & run) const;
    // Whether the run begins in what another posted, or in what it removed of that.
    bool others_tried(const void * who, int32_t seq, const text_run & run) const;

private:
    struct posted {
        text_run text, removed;
        int32_t  samples = -1;
    };
    template <class Test>
    bool any_other(const void * who, int32_t seq, Test && test) const;

    mutable std::mutex                                 mutex_;
    std::map<std::pair<const void *, int32_t>, posted> latest_;  // of each context and sequence
};

}  // namespace moescope::capture
