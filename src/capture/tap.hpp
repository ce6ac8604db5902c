#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "capture/capture_options.hpp"
#include "capture/eval_capture.hpp"
#include "capture/first_failure.hpp"
#include "capture/ggml_api.hpp"
#include "capture/mask_registry.hpp"
#include "capture/probe_registry.hpp"
#include "capture/stream_registry.hpp"

namespace moescope::capture {

// What the hooks talk to: brings what every scheduler's probe reads to the stream of its context. Contexts may work in several
// threads at once; each scheduler and context is used by one thread at a time, as llama.cpp demands. docs/capture.md says which
// thread takes which lock.
class tap {
public:
    using open_sink = stream_registry::open_sink;

    // Without an `open` nothing is recorded: graphs are masked at most.
    tap(ggml_api api, capture_options options, open_sink open);
    ~tap();

    // The tap of a program that captures itself, or null when nothing is captured. Set by whoever owns it.
    static tap * active();
    static void  activate(tap * t);

    const ggml_api & api() const { return api_; }

    // ---- called by the hooks; none of them throws -----------------------------------------------------------------
    void before_plan(ggml_backend_sched_t sched, ggml_cgraph * graph) noexcept;  // reserve and alloc
    void after_alloc(ggml_backend_sched_t sched) noexcept;
    void before_compute(ggml_backend_sched_t sched) noexcept;
    void after_compute(ggml_backend_sched_t sched, bool success) noexcept;
    void synchronized(ggml_backend_sched_t sched) noexcept;
    void before_reset(ggml_backend_sched_t sched) noexcept;
    void before_free(ggml_backend_sched_t sched) noexcept;
    void wrap_callback(ggml_backend_sched_t sched, ggml_backend_sched_eval_callback & callback,
                       void *& user_data) noexcept;
    // `batch`: a llama_batch as the running llama.cpp defines it.
    void begin_batch(llama_context * ctx, const void * batch, bool encode) noexcept;
    void perf_reset(llama_context * ctx) noexcept;
    void memory_cleared(llama_memory_t memory) noexcept;
    // `last`: what last_position() said before the change.
    void    memory_changed(llama_memory_t memory, const memory_event & e, int32_t last) noexcept;
    int32_t last_position(llama_memory_t memory, llama_seq_id seq) noexcept;
    void    set_warmup(llama_context * ctx, bool on) noexcept;
    void    before_context_free(llama_context * ctx) noexcept;

    // ---- called by the owner ---------------------------------------------------------------------------------------
    void set_phase(phase p);  // of every stream's following ubatches
    void read_pending();      // synchronizes and hands over what is computed: none of it was a warm-up
    // Ends every stream; later computations are not recorded. False, with nothing done, where the calling thread is inside
    // a hook (a signal handler that calls exit()): what it interrupted may hold any lock.
    bool           close_all();
    eval_capture & new_eval_capture();  // mechanism::eval_callback: the user data of one context's cb_eval
    time_spent     spent() const { return {capture_ns_, compute_ns_}; }
    std::string    failure() const { return failure_.text(); }  // the first; "" when all is recorded
    mechanism      by() const { return options_.by; }
    bool           records() const { return records_; }
    // Masks one context (session::set_mask).
    void set_mask(llama_context * ctx, const expert_mask & mask);
    // Why something is computed without the mask that it should have had; "" when all is masked as asked for. on_unmasked is
    // told at once, in a hook; it must not throw, and is set before anything computes.
    std::string                              unmasked() const { return unmasked_.text(); }
    std::function<void(const std::string &)> on_unmasked;
    bool                                     saw_moe() const { return saw_moe_; }
    bool                                     saw_graph() const { return saw_graph_; }
    bool saw_others() const { return saw_others_; }  // graphs with MoE blocks, none of them in the layers asked for

private:
    template <class Work>
    void guarded(Work && work) noexcept;
    // Does `work` with the stream of the context that has this memory, if there is one.
    template <class Work>
    void of_memory(llama_memory_t memory, Work && work);

    void                      mask(ggml_backend_sched_t sched, ggml_cgraph * graph);
    probe *                   watch(ggml_backend_sched_t sched);
    std::optional<mtp_layers> mtp_layers_of_batch();
    void                      collect(ggml_backend_sched_t sched, probe & p);
    void                      collect_waiting(llama_context * ctx);
    void submit(stream & s, ubatch_buffer & u, const access_list & reads, const void * weight_address);

    const ggml_api        api_;
    const capture_options options_;
    const bool            records_;
    const uint64_t        started_ns_;

    // Shared by whoever hands something to a stream, exclusive while the streams are closed at exit.
    std::shared_mutex life_;
    std::atomic<bool> closed_{false};
    stream_registry   streams_;
    probe_registry    probes_;
    mask_registry     masks_;

    std::mutex                                 making_;  // guards eval_captures_, not what they do
    std::vector<std::unique_ptr<eval_capture>> eval_captures_;

    first_failure         failure_, unmasked_;
    std::atomic<uint64_t> capture_ns_{0}, compute_ns_{0};
    std::atomic<bool>     saw_moe_{false}, saw_graph_{false}, saw_others_{false};
};

}  // namespace moescope::capture
