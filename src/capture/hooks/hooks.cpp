// The functions that libllama and programs call, interposed. Each passes the call on; when a tap is active, it is told.
// The list of ggml's scheduler functions is complete for libllama. Calls inside libggml go through here too, so hooks are
// re-entered (alloc inside compute, reset inside reserve) and must tolerate it: every tap method does.
//
// Linked into libmoescope-record.so and, as exported symbols, into programs that capture themselves.

#include <dlfcn.h>

#include <ggml-backend.h>
#include <llama.h>

#include "capture/hooks/hooks.hpp"
#include "capture/tap.hpp"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

using moescope::capturing::find_real;
using moescope::capturing::tap;

// The tap, once for each call: another thread may switch it off meanwhile.
tap * active_tap(void * caller) noexcept {
    moescope::capturing::on_first_call(caller);
    return tap::active();
}

}  // namespace

// Declares `real`, the function behind this one, and `t`, the tap or null.
#define PASS_ON(name)                                                                                              \
    void * const              caller = __builtin_return_address(0);                                               \
    static decltype(&::name)  real   = reinterpret_cast<decltype(&::name)>(find_real(#name, caller));             \
    tap * const               t      = active_tap(caller)

EXPORTED bool ggml_backend_sched_reserve(ggml_backend_sched_t sched, ggml_cgraph * graph) {
    PASS_ON(ggml_backend_sched_reserve);
    if (t != nullptr) {
        t->before_plan(sched, graph);
    }
    return real(sched, graph);
}

EXPORTED void ggml_backend_sched_reserve_size(ggml_backend_sched_t sched, ggml_cgraph * graph, size_t * sizes) {
    PASS_ON(ggml_backend_sched_reserve_size);
    if (t != nullptr) {
        t->before_plan(sched, graph);
    }
    real(sched, graph, sizes);
}

EXPORTED bool ggml_backend_sched_alloc_graph(ggml_backend_sched_t sched, ggml_cgraph * graph) {
    PASS_ON(ggml_backend_sched_alloc_graph);
    if (t == nullptr) {
        return real(sched, graph);
    }
    t->before_plan(sched, graph);
    const bool done = real(sched, graph);
    if (done) {
        t->after_alloc(sched);
    }
    return done;
}

EXPORTED ggml_status ggml_backend_sched_graph_compute_async(ggml_backend_sched_t sched, ggml_cgraph * graph) {
    PASS_ON(ggml_backend_sched_graph_compute_async);
    if (t == nullptr) {
        return real(sched, graph);
    }
    t->before_compute(sched);
    const ggml_status status = real(sched, graph);
    t->after_compute(sched, status == GGML_STATUS_SUCCESS);
    return status;
}

EXPORTED void ggml_backend_sched_synchronize(ggml_backend_sched_t sched) {
    PASS_ON(ggml_backend_sched_synchronize);
    real(sched);
    if (t != nullptr) {
        t->synchronized(sched);
    }
}

EXPORTED void ggml_backend_sched_set_eval_callback(ggml_backend_sched_t sched, ggml_backend_sched_eval_callback callback, void * user_data) {
    PASS_ON(ggml_backend_sched_set_eval_callback);
    if (t != nullptr && callback != nullptr) {
        t->wrap_callback(sched, callback, user_data);
    }
    real(sched, callback, user_data);
}

EXPORTED void ggml_backend_sched_reset(ggml_backend_sched_t sched) {
    PASS_ON(ggml_backend_sched_reset);
    if (t != nullptr) {
        t->before_reset(sched);
    }
    real(sched);
}

EXPORTED void ggml_backend_sched_free(ggml_backend_sched_t sched) {
    PASS_ON(ggml_backend_sched_free);
    if (t != nullptr && sched != nullptr) {
        t->before_free(sched);
    }
    real(sched);
}

EXPORTED void llama_free(llama_context * ctx) {
    PASS_ON(llama_free);
    if (t != nullptr && ctx != nullptr) {
        t->before_context_free(ctx);
    }
    real(ctx);
}

EXPORTED void llama_perf_context_reset(llama_context * ctx) {
    PASS_ON(llama_perf_context_reset);
    if (t != nullptr) {
        t->perf_reset(ctx);
    }
    real(ctx);
}

EXPORTED void llama_memory_clear(llama_memory_t memory, bool data) {
    PASS_ON(llama_memory_clear);
    if (t != nullptr) {
        t->memory_cleared(memory);
    }
    real(memory, data);
}

EXPORTED void llama_set_warmup(llama_context * ctx, bool warmup) {
    PASS_ON(llama_set_warmup);
    if (t != nullptr) {
        t->set_warmup(ctx, warmup);
    }
    real(ctx, warmup);
}

// llama_decode and llama_encode take a struct by value, whose size differs between versions. trampoline.S enters here with
// a pointer to it and then jumps to what is returned, with all arguments as they were.
extern "C" __attribute__((visibility("hidden"))) void * moescope_enter_decode(llama_context * ctx, const void * batch, void * caller) {
    static void * const real = find_real("llama_decode", caller);
    if (tap * t = active_tap(caller)) {
        t->begin_batch(ctx, moescope::capturing::batch_layout_is_known() ? static_cast<const llama_batch *>(batch) : nullptr, false);
    }
    return real;
}

extern "C" __attribute__((visibility("hidden"))) void * moescope_enter_encode(llama_context * ctx, const void * batch, void * caller) {
    static void * const real = find_real("llama_encode", caller);
    if (tap * t = active_tap(caller)) {
        t->begin_batch(ctx, moescope::capturing::batch_layout_is_known() ? static_cast<const llama_batch *>(batch) : nullptr, true);
    }
    return real;
}
