#pragma once

// Capture inside a program of our own (moescope run, profile, the tests): one interface over both ways in.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "capture/capture_options.hpp"
#include "core/routing.hpp"

struct llama_context;
struct llama_context_params;

namespace moescope::capture {

// While it lives, every llama_context of this process that is created *after* it is captured: one sink per stream
// (llama_context), opened at the context's first real compute. `open` may return null: that stream is not recorded. Without
// an `open` nothing is recorded, and graphs are changed by masks alone.
// At most one session at a time. Not to be destroyed while a captured context computes.
class session {
public:
    using open_stream = std::function<std::unique_ptr<routing_sink>(uint32_t stream)>;

    explicit session(capture_options options, open_stream open = {});
    ~session();  // reads what is pending and closes the sinks
    session(const session &)             = delete;
    session & operator=(const session &) = delete;

    // To be called on the parameters of every context that shall be captured: sets the eval callback where capture goes by it.
    void prepare(llama_context_params & params);

    // Masks this context's routers from its next batch on (docs/capture.md); an empty mask unmasks them. The first call for a
    // context comes before its first batch and makes its graphs maskable; later ones may come between any two batches, and
    // write n_expert floats for each layer. Other contexts stay as they are. To be called by the thread that uses the context,
    // while the session lives; the mask ends with the context. Throws usage_error where the mask does not fit the model
    // (expert_mask::check), error where the context cannot be masked any more.
    void set_mask(llama_context * ctx, const expert_mask & mask);

    // What the following llama_decode calls are, whichever context or thread; without it, each token's phase follows from its
    // batch (see enum phase).
    void set_phase(phase p);

    // Hands over what is computed but not yet read, and a context's first small decode, which otherwise waits until it is
    // clear that it was no warm-up (docs/capture.md, trap 7).
    void read_pending();

    time_spent spent() const;  // so far
    // Why recording stopped before its time (self-test, a sink's error), or why something was computed without its mask;
    // empty: neither.
    std::string failure() const;

private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace moescope::capture
