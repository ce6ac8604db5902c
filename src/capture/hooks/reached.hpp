#pragma once

// Which function each call goes on to. A process may hold several copies of ggml and llama.cpp, each private to the
// libraries that loaded it (two Python packages, two versions of a Node package): a call goes to the copy that the calling
// library would have reached without us.

#include <cstdint>

#include <ggml-backend.h>
#include <llama.h>

// Methods of libllama's own class, which llama_decode and others of its functions call through the same tables as anything
// else. Who looks llama_decode up by name at run time (Python's ctypes, .NET, Java) passes by ours, but not by these. Some
// builds hide them.
extern "C" {
int  _ZN13llama_context6decodeERK11llama_batch(llama_context *     self,
                                               const llama_batch * batch);  // decode(const llama_batch &)
int  _ZN13llama_context6encodeERK11llama_batch(llama_context *     self,
                                               const llama_batch * batch);  // encode(const llama_batch &)
void _ZN13llama_contextD1Ev(llama_context * self);                          // ~llama_context()
void _ZN13llama_context10perf_resetEv(llama_context * self);                // perf_reset()
void _ZN13llama_context10set_warmupEb(llama_context * self, bool warmup);   // set_warmup(bool)
}

namespace moescope::capture {

// The functions that hooks stand in front of. Complete for what libllama calls of ggml's scheduler.
// clang-format off
#define MOESCOPE_HOOKED_FUNCTIONS(X)                                                                                   \
    X(ggml_backend_sched_reserve) X(ggml_backend_sched_reserve_size) X(ggml_backend_sched_alloc_graph)                 \
    X(ggml_backend_sched_graph_compute_async) X(ggml_backend_sched_synchronize) X(ggml_backend_sched_reset)            \
    X(ggml_backend_sched_free) X(ggml_backend_sched_set_eval_callback)                                                 \
    X(llama_decode) X(llama_encode) X(llama_free) X(llama_perf_context_reset) X(llama_set_warmup)                      \
    X(llama_memory_clear) X(llama_memory_seq_rm) X(llama_memory_seq_cp) X(llama_memory_seq_keep)                       \
    X(llama_memory_seq_add) X(llama_memory_seq_div)                                                                    \
    X(_ZN13llama_context6decodeERK11llama_batch) X(_ZN13llama_context6encodeERK11llama_batch)                          \
    X(_ZN13llama_contextD1Ev) X(_ZN13llama_context10perf_resetEv) X(_ZN13llama_context10set_warmupEb)
// clang-format on

// What the calls of one library reach; null for what it never calls.
struct reached_functions {
#define X(name) decltype(&::name) name = nullptr;
    MOESCOPE_HOOKED_FUNCTIONS(X)
#undef X
    // Which copy of ggml that is: the same address for every library that reaches the same.
    const void * copy() const {
        return reinterpret_cast<const void *>(ggml_backend_sched_synchronize);
    }

    uintptr_t begin = 0, end = 0;  // the addresses of the library's code
};

// `caller` is an address in the calling library. Looked up once for each library, which then stays loaded; it allocates
// nothing of its own. The reference stays valid until the same thread's next call.
const reached_functions & reached_from(void * caller) noexcept;

}  // namespace moescope::capture
