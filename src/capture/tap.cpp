#include "capture/tap.hpp"

#include <cerrno>
#include <chrono>

#include <pthread.h>

#include "capture/model_query.hpp"

namespace moescope::capture {

namespace {

std::atomic<tap *> the_tap{nullptr};  // of a program that captures itself

// Whose llama_decode the calling thread is in; where its end is not seen, whose it was in last, and may have been freed since.
thread_local llama_context * current_context = nullptr;

thread_local int hooks_entered = 0;

uint64_t steady_ns() {
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

}  // namespace

// The host notices nothing of a hook: not its errno, not its files as points of cancellation (unwinding through a noexcept
// function would end the program).
class tap::hook {
public:
    hook() {
        hooks_entered += 1;
        ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_);
    }
    ~hook() {
        ::pthread_setcancelstate(cancel_state_, nullptr);
        hooks_entered -= 1;
        errno = errno_;
    }
    hook(const hook &)             = delete;
    hook & operator=(const hook &) = delete;

private:
    const int errno_        = errno;
    int       cancel_state_ = 0;
};

class tap::timed {
public:
    explicit timed(tap & t) : tap_(t), begin_(steady_ns()) {}
    ~timed() { tap_.capture_ns_ += steady_ns() - begin_; }

private:
    tap &    tap_;
    uint64_t begin_;
};

tap::tap(ggml_api api, capture_options options, open_sink open)
    : api_(api),
      options_(std::move(options)),
      started_ns_(steady_ns()),
      streams_(api_, std::move(open)) {}

tap::~tap() = default;

tap * tap::active() {
    return the_tap.load(std::memory_order_acquire);
}

void tap::activate(tap * t) {
    the_tap.store(t, std::memory_order_release);
}

void tap::complain(const std::string & why) {
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) {
        failure_ = why;
    }
}

std::string tap::failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
}

void tap::set_phase(phase p) {
    streams_.set_phase(p);
}

probe * tap::find_probe(ggml_backend_sched_t sched, bool create) {
    const std::lock_guard lock(mutex_);
    const auto            it = probes_.find(sched);
    if (it != probes_.end()) {
        return it->second.get();
    }
    if (!create || closed_ || options_.way != method::probes) {
        return nullptr;
    }
    return (probes_[sched] = std::make_unique<probe>(api_, sched, options_)).get();
}

// What every hook does: the host notices nothing of it, and no exception leaves it.
template <class F>
void tap::guarded(F && work) noexcept {
    const hook h;
    try {
        work();
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

// ---- the schedulers' hooks ------------------------------------------------------------------------------------------

void tap::before_plan(ggml_backend_sched_t sched, ggml_cgraph * graph) noexcept {
    guarded([&] {
        const timed t(*this);
        saw_graph_ = true;
        probe * p  = find_probe(sched, true);
        if (p == nullptr) {
            return;
        }
        if (p->pending()) {
            collect(sched, *p);
        }
        {
            const std::shared_lock alive(life_);
            if (const stream * s = streams_.find(current_context)) {
                p->set_n_layer(first_mtp_layer(s->model()));
            }
        }
        p->plan(graph);
        if (!p->failure().empty()) {
            complain(p->failure());
        }
    });
}

void tap::after_alloc(ggml_backend_sched_t sched) noexcept {
    guarded([&] {
        const timed t(*this);
        if (probe * p = find_probe(sched, false)) {
            p->bind();
            saw_moe_ = saw_moe_ || p->has_moe();
        }
    });
}

void tap::before_compute(ggml_backend_sched_t sched) noexcept {
    guarded([&] {
        const timed t(*this);
        if (probe * p = find_probe(sched, false); p != nullptr && p->has_moe()) {
            if (p->pending()) {
                api_.ggml_backend_sched_synchronize(sched);  // its values are about to be overwritten
                collect(sched, *p);
            }
            p->read_inputs();
        }
    });
}

void tap::after_compute(ggml_backend_sched_t sched, bool success) noexcept {
    guarded([&] {
        const timed t(*this);
        if (callback * c = callback::take_current()) {
            c->end(success);
            return;
        }
        probe * p = find_probe(sched, false);
        if (p == nullptr || !p->has_moe()) {
            return;
        }
        streams_.set_owner(sched, current_context);
        p->computed(success);
        if (p->stopped_by_host()) {
            const std::shared_lock alive(life_);
            if (!closed_) {
                streams_.of_sched(sched).graph_stopped();
            }
        }
        if (p->pending() && p->synchronous()) {
            collect(sched, *p);
        }
    });
}

void tap::synchronized(ggml_backend_sched_t sched) noexcept {
    guarded([&] {
        if (probe * p = find_probe(sched, false); p != nullptr && p->pending()) {
            const timed t(*this);
            collect(sched, *p);
        }
    });
}

void tap::before_reset(ggml_backend_sched_t sched) noexcept {
    guarded([&] {
        if (probe * p = find_probe(sched, false); p != nullptr && p->pending()) {
            const timed t(*this);
            api_.ggml_backend_sched_synchronize(sched);
            collect(sched, *p);
        }
    });
}

void tap::before_free(ggml_backend_sched_t sched) noexcept {
    before_reset(sched);
    guarded([&] {
        const std::shared_lock        alive(life_);
        const std::unique_ptr<stream> ended = streams_.take(sched);
        const std::lock_guard         lock(mutex_);
        if (const auto it = probes_.find(sched); it != probes_.end()) {
            delete it->second->host();
            probes_.erase(it);
        }
    });
}

void tap::wrap_callback(ggml_backend_sched_t sched, ggml_backend_sched_eval_callback & callback,
                        void *& user_data) noexcept {
    guarded([&] {
        if (probe * p = find_probe(sched, true)) {
            if (p->host() == nullptr) {
                p->set_host(new host_callback);  // freed with the scheduler, which may outlive the tap
            }
            p->host()->wrap(callback, user_data);
        }
    });
}

void tap::collect(ggml_backend_sched_t sched, probe & p) {
    const std::shared_lock alive(life_);
    if (closed_) {
        p.drop();
        return;
    }
    ubatch_buffer & u = p.collect();
    stream &        s = streams_.of_sched(sched);
    name_file(s, p.weight_address());
    submit(s, u, p.weight_reads());
}

void tap::name_file(stream & s, const void * weight_address) {
    if (!s.opened() && s.model().file.empty()) {
        s.set_file(file_behind(weight_address));
    }
}

void tap::submit(stream & s, ubatch_buffer & u, const access_list & reads) {
    u.time_ns = steady_ns() - started_ns_;
    s.submit(u, reads);
    if (!s.failure().empty()) {
        complain(s.failure());
    }
}

callback & tap::new_callback() {
    const std::lock_guard lock(mutex_);
    callbacks_.push_back(std::make_unique<callback>(api_, options_, [this](const callback & from, ubatch_buffer & u) {
        const std::shared_lock alive(life_);
        if (closed_) {
            return;
        }
        stream *       of_ctx    = streams_.find(current_context);
        stream &       s         = of_ctx != nullptr ? *of_ctx : streams_.of_sched(nullptr);
        const uint32_t first_mtp = first_mtp_layer(s.model());
        name_file(s, from.weight_address());
        for (block_layout & l : u.layout) {
            l.flags |= first_mtp > 0 && l.layer >= static_cast<int32_t>(first_mtp) ? block_layout::mtp : 0u;
        }
        submit(s, u, from.weight_reads());
    }));
    return *callbacks_.back();
}

// ---- the contexts' hooks --------------------------------------------------------------------------------------------

// Reads what the context computed and nobody has synchronized for: on a device, llama_decode returns before its results are
// there. It belongs to the batch before, and must be read before anything changes that.
void tap::collect_waiting(llama_context * ctx) {
    for (ggml_backend_sched_t sched : streams_.scheds_of(ctx)) {
        before_reset(sched);
    }
}

void tap::begin_batch(llama_context * ctx, const void * batch, bool encode) noexcept {
    guarded([&] {
        const timed t(*this);
        collect_waiting(ctx);
        const std::shared_lock alive(life_);
        current_context = ctx;
        if (!closed_) {
            // llama_batch has had its seven members since before llama_model_get_vocab came (January 2025); what is older is
            // not looked into. Within that, batch_replay attributes nothing that does not reproduce the graph's own tokens.
            const bool known = api_.llama_model_get_vocab != nullptr;
            streams_.of_context(ctx).begin_batch(known ? static_cast<const llama_batch *>(batch) : nullptr, encode);
        }
    });
}

void tap::end_batch() noexcept {
    current_context = nullptr;
}

void tap::perf_reset(llama_context * ctx) noexcept {
    guarded([&] {
        collect_waiting(ctx);
        const std::shared_lock alive(life_);
        if (stream * s = streams_.find(ctx)) {
            s->perf_reset();
        }
    });
}

void tap::memory_cleared(llama_memory_t memory) noexcept {
    guarded([&] {
        llama_context * ctx = streams_.find_by_memory(memory);
        collect_waiting(ctx);
        const std::shared_lock alive(life_);
        if (stream * s = streams_.find(ctx)) {
            s->memory_cleared();
        }
    });
}

void tap::set_warmup(llama_context * ctx, bool on) noexcept {
    guarded([&] {
        collect_waiting(ctx);
        const std::shared_lock alive(life_);
        streams_.set_warmup(ctx, on);
    });
}

void tap::before_context_free(llama_context * ctx) noexcept {
    guarded([&] {
        collect_waiting(ctx);
        const std::shared_lock alive(life_);
        if (const std::unique_ptr<stream> ended = streams_.take(ctx)) {
            ended->close();
        }
    });
}

// ---- for the owner --------------------------------------------------------------------------------------------------

void tap::read_pending() {
    std::vector<std::pair<ggml_backend_sched_t, probe *>> waiting;
    {
        const std::lock_guard lock(mutex_);
        for (const auto & [sched, p] : probes_) {
            if (p->pending()) {
                waiting.emplace_back(sched, p.get());
            }
        }
    }
    for (const auto & [sched, p] : waiting) {
        api_.ggml_backend_sched_synchronize(sched);
        collect(sched, *p);
    }
    for (stream * s : streams_.all()) {
        s->release();
        if (!s->failure().empty()) {
            complain(s->failure());
        }
    }
}

bool tap::close_all() {
    if (hooks_entered > 0) {
        return false;
    }
    const std::unique_lock alone(life_);
    closed_ = true;
    for (const std::unique_ptr<stream> & s : streams_.take_all()) {
        s->close();
        if (!s->failure().empty()) {
            complain(s->failure());
        }
    }
    return true;
}

}  // namespace moescope::capture
