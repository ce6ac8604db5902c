#pragma once

#include <cstdint>
#include <vector>

#include "core/span.hpp"

struct llama_batch;

namespace moescope::capture {

// Finds out which tokens of a llama_decode batch a ubatch holds, so that its rows get their sequence ids.
//
// llama.cpp splits a batch into ubatches in one of a few ways (llama_batch_allocr::split_simple, split_equal with and
// without increasing sequence ids, split_seq); which one depends on the context's memory and cannot be seen from
// outside. All of them are replayed side by side; those that reproduce the ubatch's tokens and positions stay. A row
// gets a sequence id only where all that stay agree; otherwise -1, never a guess.
class batch_replay {
public:
    // What was passed to llama_decode or llama_encode; copied. first_pos: by sequence id, where a batch without
    // positions goes on (llama_memory_seq_pos_max + 1); -1 or missing: not known.
    void begin(const llama_batch & batch, const std::vector<int32_t> & first_pos);
    void begin_unknown();  // no batch was seen

    // Fills seq (and pos, where the graph has none) of the next ubatch; tokens or pos may be -1 where not known.
    // Returns whether at least one way of splitting reproduces it.
    bool attribute(span<const int32_t> tokens, span<int32_t> pos, span<int32_t> seq);

    // Whether row's sequence has only this token in its batch.
    bool   alone(int32_t seq_id) const;
    size_t n_tokens() const { return entries_.size(); }

    struct entry {
        int32_t              token = -1, pos = -1;
        std::vector<int32_t> seqs;            // sorted
        int32_t              seq    = 0;      // the first as given
        bool                 output = false;  // its logits are asked for
    };
    const std::vector<entry> & entries() const { return entries_; }  // the batch's tokens
    // Of the tokens that attribute() saw last: which of the entries each is; nowhere: not known.
    static constexpr size_t     nowhere = SIZE_MAX;
    const std::vector<size_t> & found() const { return found_; }

private:
    enum class split { simple, equal, equal_increasing, by_sequence };
    // One explanation of all ubatches so far: how the batch is split, and which of its tokens are computed.
    struct way {
        split             how;
        std::vector<char> used;
    };
    using rows = std::vector<size_t>;  // of a ubatch: indices into entries_

    void leave_last_outputs();

    // What the next ubatch of n tokens may be.
    std::vector<rows> next(const way & w, size_t n) const;
    rows              next_simple(const way & w, size_t n) const;
    std::vector<rows> next_equal(const way & w, size_t n, bool increasing) const;
    rows              next_by_sequence(const way & w, size_t n) const;
    bool              fits(const rows & taken, span<const int32_t> tokens, span<int32_t> pos) const;

    std::vector<entry>  entries_;
    std::vector<way>    ways_;  // that explain what was seen
    std::vector<size_t> found_;
    std::vector<size_t> tokens_of_seq_;  // by (first) sequence id
};

}  // namespace moescope::capture
