#pragma once

#include <cstdint>

struct llama_context;

namespace moescope::capture {

// Whose batch the calling thread computes.
//
// llama_decode announces it, and so does the method of llama_context that llama_decode calls, whichever comes by a hook
// first; only the method sees the end. In builds that hide the methods nobody sees it: there the context of the thread's last
// batch stays, and may have been freed since. Nothing may be asked of it that stream_registry does not know.
class current_batch {
public:
    static llama_context * context() { return context_; }  // null: it computes none
    static void            begin(llama_context * ctx, uint64_t now_ns) {
                   context_  = ctx;
                   since_ns_ = now_ns;
    }
    static void end() { context_ = nullptr; }

    // How long the thread has computed since its batch began, or since this was last asked. On a device, rows are there after
    // llama_decode has returned; of what belongs to no batch, nothing is known (0).
    static uint64_t computed_ns(uint64_t now_ns) {
        const uint64_t since = since_ns_;
        since_ns_            = context_ != nullptr ? now_ns : 0;
        return since == 0 ? 0 : now_ns - since;
    }

private:
    static inline thread_local llama_context * context_  = nullptr;
    static inline thread_local uint64_t        since_ns_ = 0;
};

// The computation of a batch by a method of ctx. What the methods call of each other belongs to it.
class announced_batch {
public:
    // announce() is called unless the batch has been announced.
    template <class Announce>
    announced_batch(const llama_context * ctx, Announce && announce) {
        if (current_batch::context() != ctx) {
            announce();
        }
    }
    ~announced_batch() { current_batch::end(); }
    announced_batch(const announced_batch &)             = delete;
    announced_batch & operator=(const announced_batch &) = delete;
};

}  // namespace moescope::capture
