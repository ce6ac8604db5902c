#pragma once

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
    static void            begin(llama_context * ctx) { context_ = ctx; }
    static void            end() { context_ = nullptr; }

private:
    static inline thread_local llama_context * context_ = nullptr;
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
