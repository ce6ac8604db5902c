#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "capture/batch_replay.hpp"
#include "capture/drafts.hpp"
#include "capture/ggml_api.hpp"
#include "core/routing.hpp"
#include "core/ubatch_buffer.hpp"

namespace moescope::capture {

// What one llama_context routes, from its batches to its sink: attributes rows to sequences, tells prefill from decode,
// holds back what may be a warm-up, names tokens. One thread at a time.
class stream {
public:
    // Called at the first ubatch that is really recorded; may return null: nothing is recorded.
    using open_sink = std::function<std::unique_ptr<routing_sink>()>;

    // ctx may be null (the graph was computed outside llama_decode): then tokens have no text and rows no sequence.
    stream(const ggml_api & api, const llama_context * ctx, model_info model, draft_board & board, open_sink open);

    // A llama_decode or llama_encode begins. batch is null when its layout is not known.
    void begin_batch(const llama_batch * batch, bool encode);
    void set_phase(std::optional<phase> p) { phase_ = p; }

    // One computed ubatch, as the probe read it; the buffer is only borrowed.
    void submit(ubatch_buffer & u, const access_list & reads);

    // Warm-up (docs/capture.md, trap 7): llama.cpp warms a context up with an ordinary small decode, after which it clears the
    // context's memory and resets its timings (a reset alone is how programs time generation without the prompt); and it tries
    // out what a context's memory can do with two tokens 0, after which it clears the memory. Such decodes wait until it is
    // clear whether that follows.
    void perf_reset();
    void memory_cleared();
    void set_warmup(bool on) { warmup_ = on; }
    // The program changed the memory in another way; `last` is what last_position() said before.
    void memory_changed(memory_event e, int32_t last);
    // The position that the sequence has reached in the context's memory, or, with seq -1, any has; -1 where it is not known.
    int32_t last_position(llama_memory_t memory, int32_t seq) const;

    // The program's own eval callback stopped a graph in the middle: nothing of it is submitted.
    void graph_stopped() { n_stopped_ += 1; }

    // Hands over what is held back: whoever asks for it knows that it was no warm-up.
    void release();
    // Hands over what is held back and closes the sink.
    void close();

    const std::string & failure() const { return failure_; }
    const model_info &  model() const { return model_; }
    // The model's file is the one that is mapped at this address, if any. Without effect once the sink is opened.
    void find_file(const void * weight_address);

private:
    bool holding() const { return first_ || trial_; }
    void release_held();
    void drop_held();
    void attribute(ubatch_buffer & u);
    void deliver(ubatch_buffer & u, const access_list & reads);
    void name_tokens(const ubatch_buffer & u);
    bool is_decoded(const ubatch_buffer & u, size_t token) const;
    void tell_events();
    void hand_over(const memory_event & e);

    const ggml_api &              api_;
    const llama_context *         ctx_;
    model_info                    model_;
    open_sink                     open_;
    std::unique_ptr<routing_sink> sink_;
    bool                          opened_ = false;
    std::string                   failure_;

    batch_replay         replay_;
    uint32_t             n_batches_ = 0;
    uint32_t             n_stopped_ = 0;  // graphs that the program ended before their end
    std::optional<phase> phase_;
    std::vector<bool>    named_;  // by token id

    // What became of the memory, not yet told where some of it is undecided; and what was told since the latest ubatch.
    struct waiting_event {
        memory_event event;
        text_run     maybe_drafts;  // empty: decided
    };
    drafts                     drafts_;
    std::vector<waiting_event> waiting_;
    std::vector<memory_event>  told_;
    uint64_t                   n_ubatches_ = 0;  // submitted, those that are held included

    struct held_ubatch {
        ubatch_buffer               buffer;
        access_list                 reads;
        std::optional<memory_event> event = {};  // instead of an ubatch
    };
    std::vector<held_ubatch> held_;
    size_t                   held_bytes_ = 0;
    uint32_t                 n_decodes_  = 0;
    bool                     first_      = true;   // no second decode yet, nor a reset
    bool                     trial_      = false;  // the current decode looks like a try-out
    bool                     cleared_    = false;  // the memory was, since the last decode began
    bool                     warmup_     = false;  // the program said so
};

}  // namespace moescope::capture
