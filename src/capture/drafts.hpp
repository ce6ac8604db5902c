#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "capture/batch_replay.hpp"
#include "capture/draft_board.hpp"
#include "core/memory_event.hpp"

namespace moescope::capture {

// Tells drafts from text in one context. Speculative decoding computes the tokens that a draft proposes behind the latest one, and
// asks for the logits of all of them; those that the model does not confirm are removed from the context's memory at once. A
// draft model has a context of its own, in which it computes its proposals one by one, and drops them.
//
// What is found here is what can be told from outside: batches, and what happens to the memory between them. Where that can mean
// two things, tokens are text.
class drafts {
public:
    explicit drafts(draft_board & board) : board_(board) {}
    ~drafts() { board_.forget(this); }

    // What must have happened to the memory without a call that is seen (functions that were looked up by name at run time or of
    // older versions, or no hooks at all): the batch goes on where the text already was. To be judged before begin().
    std::vector<memory_event> unseen(const batch_replay & batch) const;

    // A llama_decode begins; null: its batch is not known.
    void begin(const batch_replay * batch);
    // Whether the batch's token i is generated text, or a draft of it.
    bool is_generated(size_t i) const;
    // The batch's token i went there. decoded: it is generated text.
    void placed(size_t i, token_ref where, bool decoded);

    // The program changed the memory. Says which tokens are no text because of that, and, of a removal, what went.
    // last: the position that the sequence (or any) had reached, -1 where it was empty or is not known.
    enum class verdict {
        nothing,   // nothing was there: programs tidy up behind every batch
        decided,   // e is complete
        undecided  // what went may turn out to be drafts: e lists them, decide() knows when the next batch begins
    };
    struct judgement {
        verdict  what;
        text_run maybe_drafts;  // of undecided
    };
    judgement judge(memory_event & e, int32_t last);
    void      decide(memory_event & e, const text_run & maybe_drafts) const;

    std::vector<int32_t> sequences() const;  // that had tokens since the memory was empty
    void                 clear();            // the memory is empty

private:
    // What the batch does to one of its sequences.
    struct use {
        size_t  n_tokens = 0, n_outputs = 0;  // of which the logits are asked for
        bool    last_is_output = false;
        int32_t first_pos = -1, last_pos = -1;
        bool    verifies  = false;  // drafts, and what becomes of them is not known yet
        bool    generated = false;
        bool    follows   = false;  // another context computed the same before
    };
    struct entry {
        std::vector<int32_t> seqs;  // that have it; none: it is gone
        int32_t              token = -1, pos = -1;
        bool                 generated = false;
        bool                 is_placed = false;
        token_ref            where;
    };
    struct decoded_token {
        int32_t   token, pos;
        token_ref where;
    };
    struct state {
        bool    asked     = false;  // the logits of its latest token were: the next one is sampled
        bool    generates = false;  // and those of no other: a text whose tokens are all measured is not generated
        int32_t last_pos  = -1;     // of what was seen of its text, and is still there
        std::vector<decoded_token> recent;  // the latest that were generated, and may still be drafts
    };

    void      begin_sequence(int32_t seq, use & u);
    text_run  run_of(int32_t seq) const;
    bool      remove(memory_event & e);
    judgement judge_text(memory_event & e, int32_t last);
    void      forget_end(const memory_event & e);
    bool      keep_only(memory_event & e);
    bool      copy(const memory_event & e);
    bool      move(const memory_event & e);
    void      take_from(int32_t seq, const memory_event & range, bool rejected, memory_event & e);
    text_run  forget_recent(int32_t seq, const memory_event & range, std::vector<token_ref> & tokens);

    draft_board &                      board_;
    std::vector<entry>                 entries_;  // of the current batch
    std::unordered_map<int32_t, use>   uses_;     // the same, by sequence
    std::unordered_map<int32_t, state> states_;
};

}  // namespace moescope::capture
