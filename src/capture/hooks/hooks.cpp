// The functions that libllama and programs call, interposed. Each passes the call on; when a tap is active, it is told.
// Calls inside libggml go through here too, so hooks are re-entered (alloc inside compute, reset inside reserve) and must
// tolerate it: every tap method does.
//
// Linked into libmoescope-record.so and, as exported symbols, into programs that capture themselves.

#include <ggml-backend.h>
#include <llama.h>

#include "capture/current_batch.hpp"
#include "capture/hooks/hooks.hpp"
#include "capture/hooks/reached.hpp"
#include "capture/tap.hpp"

#define EXPORTED extern "C" __attribute__((visibility("default")))

using moescope::memory_event;
using moescope::capture::announced_batch;
using moescope::capture::reached_from;
using moescope::capture::reached_functions;
using moescope::capture::tap;

namespace {

tap * tap_of_ggml(const reached_functions & to, void * caller) noexcept {
    return moescope::capture::tap_of(to.copy(), caller);
}

// Two libllama may share one ggml, and its tap: a context must only be shown to the one whose functions the tap will ask.
tap * tap_of_llama(const reached_functions & to, void * caller) noexcept {
    tap * const t = tap_of_ggml(to, caller);
    return t != nullptr && t->api().llama_decode != nullptr && t->api().llama_decode != to.llama_decode ? nullptr : t;
}

memory_event made(memory_event::what kind, llama_seq_id seq, llama_pos p0, llama_pos p1) noexcept {
    memory_event e;
    e.kind = kind;
    e.seq  = seq;
    e.p0   = p0;
    e.p1   = p1;
    return e;
}

}  // namespace

// Declares `real`, the function behind this one, and `t`, the tap or null: once for each call, since another thread may
// switch it off meanwhile. `library` is ggml or llama.
#define PASS_ON(name, library)                                      \
    void * const              caller = __builtin_return_address(0); \
    const reached_functions & to     = reached_from(caller);        \
    const auto                real   = to.name;                     \
    tap * const               t      = tap_of_##library(to, caller)

EXPORTED bool ggml_backend_sched_reserve(ggml_backend_sched_t sched, ggml_cgraph * graph) {
    PASS_ON(ggml_backend_sched_reserve, ggml);
    if (t != nullptr) {
        t->before_plan(sched, graph);
    }
    return real(sched, graph);
}

EXPORTED void ggml_backend_sched_reserve_size(ggml_backend_sched_t sched, ggml_cgraph * graph, size_t * sizes) {
    PASS_ON(ggml_backend_sched_reserve_size, ggml);
    if (t != nullptr) {
        t->before_plan(sched, graph);
    }
    real(sched, graph, sizes);
}

EXPORTED bool ggml_backend_sched_alloc_graph(ggml_backend_sched_t sched, ggml_cgraph * graph) {
    PASS_ON(ggml_backend_sched_alloc_graph, ggml);
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
    PASS_ON(ggml_backend_sched_graph_compute_async, ggml);
    if (t == nullptr) {
        return real(sched, graph);
    }
    t->before_compute(sched);
    const ggml_status status = real(sched, graph);
    t->after_compute(sched, status == GGML_STATUS_SUCCESS);
    return status;
}

EXPORTED void ggml_backend_sched_synchronize(ggml_backend_sched_t sched) {
    PASS_ON(ggml_backend_sched_synchronize, ggml);
    real(sched);
    if (t != nullptr) {
        t->synchronized(sched);
    }
}

EXPORTED void ggml_backend_sched_set_eval_callback(ggml_backend_sched_t             sched,
                                                   ggml_backend_sched_eval_callback callback, void * user_data) {
    PASS_ON(ggml_backend_sched_set_eval_callback, ggml);
    if (t != nullptr && callback != nullptr) {
        t->wrap_callback(sched, callback, user_data);
    }
    real(sched, callback, user_data);
}

EXPORTED void ggml_backend_sched_reset(ggml_backend_sched_t sched) {
    PASS_ON(ggml_backend_sched_reset, ggml);
    if (t != nullptr) {
        t->before_reset(sched);
    }
    real(sched);
}

EXPORTED void ggml_backend_sched_free(ggml_backend_sched_t sched) {
    PASS_ON(ggml_backend_sched_free, ggml);
    if (t != nullptr && sched != nullptr) {
        t->before_free(sched);
    }
    real(sched);
}

EXPORTED void llama_free(llama_context * ctx) {
    PASS_ON(llama_free, llama);
    if (t != nullptr && ctx != nullptr) {
        t->before_context_free(ctx);
    }
    real(ctx);
}

EXPORTED void _ZN13llama_contextD1Ev(llama_context * self) {
    PASS_ON(_ZN13llama_contextD1Ev, llama);
    if (t != nullptr) {
        t->before_context_free(self);
    }
    real(self);
}

EXPORTED void llama_perf_context_reset(llama_context * ctx) {
    PASS_ON(llama_perf_context_reset, llama);
    if (t != nullptr) {
        t->perf_reset(ctx);
    }
    real(ctx);
}

EXPORTED void _ZN13llama_context10perf_resetEv(llama_context * self) {
    PASS_ON(_ZN13llama_context10perf_resetEv, llama);
    if (t != nullptr) {
        t->perf_reset(self);
    }
    real(self);
}

EXPORTED void llama_memory_clear(llama_memory_t memory, bool data) {
    PASS_ON(llama_memory_clear, llama);
    if (t != nullptr) {
        t->memory_cleared(memory);
    }
    real(memory, data);
}

EXPORTED bool llama_memory_seq_rm(llama_memory_t memory, llama_seq_id seq, llama_pos p0, llama_pos p1) {
    PASS_ON(llama_memory_seq_rm, llama);
    const int32_t last = t != nullptr ? t->last_position(memory, seq) : -1;
    const bool    done = real(memory, seq, p0, p1);
    if (t != nullptr && done) {
        t->memory_changed(memory, made(memory_event::what::remove, seq, p0, p1), last);
    }
    return done;
}

EXPORTED void llama_memory_seq_cp(llama_memory_t memory, llama_seq_id seq, llama_seq_id to_seq, llama_pos p0,
                                  llama_pos p1) {
    PASS_ON(llama_memory_seq_cp, llama);
    real(memory, seq, to_seq, p0, p1);
    if (t != nullptr) {
        memory_event e = made(memory_event::what::copy, seq, p0, p1);
        e.to           = to_seq;
        t->memory_changed(memory, e, -1);
    }
}

EXPORTED void llama_memory_seq_keep(llama_memory_t memory, llama_seq_id seq) {
    PASS_ON(llama_memory_seq_keep, llama);
    real(memory, seq);
    if (t != nullptr) {
        t->memory_changed(memory, made(memory_event::what::keep, seq, -1, -1), -1);
    }
}

EXPORTED void llama_memory_seq_add(llama_memory_t memory, llama_seq_id seq, llama_pos p0, llama_pos p1,
                                   llama_pos delta) {
    PASS_ON(llama_memory_seq_add, llama);
    real(memory, seq, p0, p1, delta);
    if (t != nullptr) {
        memory_event e = made(memory_event::what::shift, seq, p0, p1);
        e.delta        = delta;
        t->memory_changed(memory, e, -1);
    }
}

EXPORTED void llama_memory_seq_div(llama_memory_t memory, llama_seq_id seq, llama_pos p0, llama_pos p1, int d) {
    PASS_ON(llama_memory_seq_div, llama);
    real(memory, seq, p0, p1, d);
    if (t != nullptr && d != 0) {
        memory_event e = made(memory_event::what::divide, seq, p0, p1);
        e.delta        = d;
        t->memory_changed(memory, e, -1);
    }
}

EXPORTED void llama_set_warmup(llama_context * ctx, bool warmup) {
    PASS_ON(llama_set_warmup, llama);
    if (t != nullptr) {
        t->set_warmup(ctx, warmup);
    }
    real(ctx, warmup);
}

EXPORTED void _ZN13llama_context10set_warmupEb(llama_context * self, bool warmup) {
    PASS_ON(_ZN13llama_context10set_warmupEb, llama);
    if (t != nullptr) {
        t->set_warmup(self, warmup);
    }
    real(self, warmup);
}

// ---- batches: announced to the tap once, by llama_decode or by the method that it calls, whichever comes by here ----

namespace {

void announce(tap * t, llama_context * ctx, const void * batch, bool encode) {
    if (t != nullptr) {
        t->begin_batch(ctx, batch, encode);
    }
}

}  // namespace

// llama_decode and llama_encode take a struct by value, whose size differs between versions. trampoline.S enters here with
// a pointer to it and then jumps to what is returned, with all arguments as they were.
extern "C" __attribute__((visibility("hidden"))) void * moescope_enter_decode(llama_context * ctx, const void * batch,
                                                                              void * caller) {
    const reached_functions & to   = reached_from(caller);
    void * const              real = reinterpret_cast<void *>(to.llama_decode);
    announce(tap_of_llama(to, caller), ctx, batch, false);
    return real;
}

extern "C" __attribute__((visibility("hidden"))) void * moescope_enter_encode(llama_context * ctx, const void * batch,
                                                                              void * caller) {
    const reached_functions & to   = reached_from(caller);
    void * const              real = reinterpret_cast<void *>(to.llama_encode);
    announce(tap_of_llama(to, caller), ctx, batch, true);
    return real;
}

EXPORTED int _ZN13llama_context6decodeERK11llama_batch(llama_context * self, const llama_batch * batch) {
    PASS_ON(_ZN13llama_context6decodeERK11llama_batch, llama);
    const announced_batch batch_of_self(self, [&] { announce(t, self, batch, false); });
    return real(self, batch);
}

EXPORTED int _ZN13llama_context6encodeERK11llama_batch(llama_context * self, const llama_batch * batch) {
    PASS_ON(_ZN13llama_context6encodeERK11llama_batch, llama);
    const announced_batch batch_of_self(self, [&] { announce(t, self, batch, true); });
    return real(self, batch);
}
