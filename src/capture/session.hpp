#pragma once

// Capture inside a program of our own (moescope run, profile, the tests): one interface over both ways in.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "capture/capture_options.hpp"
#include "core/routing.hpp"

struct llama_context_params;

namespace moescope::capture {

// While it lives, every llama_context of this process that is created *after* it is captured: one sink per stream
// (llama_context), opened at the context's first real compute. `open` may return null: that stream is not recorded.
// At most one session at a time. Not to be destroyed while a captured context computes.
class session {
public:
    using open_stream = std::function<std::unique_ptr<routing_sink>(uint32_t stream)>;

    session(capture_options options, open_stream open);
    ~session();  // reads what is pending and closes the sinks
    session(const session &)             = delete;
    session & operator=(const session &) = delete;

    // To be called on the parameters of every context that shall be captured: sets the eval callback where capture goes by it.
    void prepare(llama_context_params & params);

    // What the following llama_decode calls are, whichever context or thread; without it, each token's phase follows from its
    // batch (see enum phase).
    void set_phase(phase p);

    // Hands over what is computed but not yet read, and a context's first small decode, which otherwise waits until it is
    // clear that it was no warm-up (docs/capture.md, trap 7).
    void read_pending();

    uint64_t    capture_ns() const;  // time spent so far in marking, reading and sinks
    std::string failure() const;  // why recording stopped before its time (self-test, sink's error); empty: it did not

private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace moescope::capture
