#include "capture/tap.hpp"

#include "capture/current_batch.hpp"
#include "capture/hook_guard.hpp"
#include "capture/model_query.hpp"
#include "core/error.hpp"

namespace moescope::capture {

namespace {

std::atomic<tap *> the_tap{nullptr};  // of a program that captures itself

// As far as the model's metadata tell: they do not say which layers have experts.
void check_fit(const expert_mask & mask, const model_info & m) {
    std::vector<router_shape> layers;
    for (uint32_t il = 0; il < m.n_layer; ++il) {
        layers.push_back({static_cast<int32_t>(il), m.n_expert, m.n_expert_used});
    }
    if (m.n_expert > 0) {
        mask.check_layers(layers, [&](int32_t il) { return mtp_layers_of(m).flag_of(il) == 0; });
        for (const router_shape & r : layers) {
            mask.check_router(r);
        }
    }
}

}  // namespace

tap::tap(ggml_api api, capture_options options, open_sink open)
    : api_(api),
      options_(std::move(options)),
      records_(open != nullptr),
      started_ns_(steady_ns()),
      streams_(api_, std::move(open)),
      probes_(api_, options_),
      masks_(api_, options_.mask) {}

tap::~tap() = default;

tap * tap::active() {
    return the_tap.load(std::memory_order_acquire);
}

void tap::activate(tap * t) {
    the_tap.store(t, std::memory_order_release);
}

template <class Work>
void tap::guarded(Work && work) noexcept {
    capture::guarded(work, [this](const char * why) { failure_.add(why); });
}

// ---- the schedulers' hooks ------------------------------------------------------------------------------------------

void tap::before_plan(ggml_backend_sched_t sched, ggml_cgraph * graph) noexcept {
    guarded([&] {
        const stopwatch spent(capture_ns_);
        saw_graph_ = true;
        mask(sched, graph);
        probe * p = watch(sched);
        if (p == nullptr) {
            return;
        }
        if (p->pending()) {
            collect(sched, *p);
        }
        if (const std::optional<mtp_layers> mtp = mtp_layers_of_batch()) {
            p->set_mtp_layers(*mtp);
        }
        p->plan(graph);
        saw_others_ = saw_others_ || p->left_all_out();
        failure_.add(p->failure());
    });
}

// Before the probes look at the graph: they see what is computed.
void tap::mask(ggml_backend_sched_t sched, ggml_cgraph * graph) {
    graph_mask * m = masks_.of_sched(sched, current_batch::context());
    if (m == nullptr || !m->failure().empty()) {
        return;
    }
    m->apply(graph, mtp_layers_of_batch());
    if (!m->failure().empty()) {
        unmasked_.add(m->failure());
        if (on_unmasked) {
            on_unmasked(m->failure());
        }
    }
}

// The scheduler's probe, made where there is none; null where nothing is recorded through probes.
probe * tap::watch(ggml_backend_sched_t sched) {
    const bool makes = records_ && !closed_ && options_.by == mechanism::probes;
    return makes ? &probes_.of_sched(sched) : probes_.find(sched);
}

std::optional<mtp_layers> tap::mtp_layers_of_batch() {
    const std::shared_lock alive(life_);
    const stream *         s = streams_.find(current_batch::context());
    return s != nullptr ? std::optional(mtp_layers_of(s->model())) : std::nullopt;
}

void tap::after_alloc(ggml_backend_sched_t sched) noexcept {
    guarded([&] {
        const stopwatch spent(capture_ns_);
        if (probe * p = probes_.find(sched)) {
            p->bind();
            saw_moe_ = saw_moe_ || p->has_moe();
        }
    });
}

void tap::before_compute(ggml_backend_sched_t sched) noexcept {
    guarded([&] {
        const stopwatch spent(capture_ns_);
        if (probe * p = probes_.find(sched); p != nullptr && p->has_moe()) {
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
        const stopwatch spent(capture_ns_);
        if (eval_capture * c = eval_capture::take_current()) {
            c->set_mtp_layers(mtp_layers_of_batch().value_or(mtp_layers()));
            c->end(success);
            return;
        }
        probe * p = probes_.find(sched);
        if (p == nullptr || !p->has_moe()) {
            return;
        }
        streams_.set_owner(sched, current_batch::context());
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
        if (probe * p = probes_.find(sched); p != nullptr && p->pending()) {
            const stopwatch spent(capture_ns_);
            collect(sched, *p);
        }
    });
}

void tap::before_reset(ggml_backend_sched_t sched) noexcept {
    guarded([&] {
        if (probe * p = probes_.find(sched); p != nullptr && p->pending()) {
            const stopwatch spent(capture_ns_);
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
        probes_.drop(sched);
        masks_.drop(sched);
    });
}

void tap::wrap_callback(ggml_backend_sched_t sched, ggml_backend_sched_eval_callback & callback,
                        void *& user_data) noexcept {
    guarded([&] {
        if (watch(sched) != nullptr) {
            probes_.host_of(sched).wrap(callback, user_data);
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
    submit(streams_.of_sched(sched), u, p.weight_reads(), p.weight_address());
}

void tap::submit(stream & s, ubatch_buffer & u, const access_list & reads, const void * weight_address) {
    s.find_file(weight_address);
    u.time_ns = steady_ns() - started_ns_;
    s.submit(u, reads);
    failure_.add(s.failure());
    compute_ns_ += current_batch::computed_ns(steady_ns());
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
        const stopwatch spent(capture_ns_);
        collect_waiting(ctx);
        const std::shared_lock alive(life_);
        current_batch::begin(ctx, steady_ns());
        if (!closed_) {
            // llama_batch has had its seven members since before llama_model_get_vocab came (January 2025); what is older is
            // not looked into. Within that, batch_replay attributes nothing that does not reproduce the graph's own tokens.
            const bool known = api_.llama_model_get_vocab != nullptr;
            streams_.of_context(ctx).begin_batch(known ? static_cast<const llama_batch *>(batch) : nullptr, encode);
        }
    });
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

template <class Work>
void tap::of_memory(llama_memory_t memory, Work && work) {
    guarded([&] {
        llama_context * ctx = streams_.find_by_memory(memory);
        collect_waiting(ctx);
        const std::shared_lock alive(life_);
        if (stream * s = streams_.find(ctx)) {
            work(*s);
            failure_.add(s->failure());
        }
    });
}

void tap::memory_cleared(llama_memory_t memory) noexcept {
    of_memory(memory, [](stream & s) { s.memory_cleared(); });
}

void tap::memory_changed(llama_memory_t memory, const memory_event & e, int32_t last) noexcept {
    of_memory(memory, [&](stream & s) { s.memory_changed(e, last); });
}

int32_t tap::last_position(llama_memory_t memory, llama_seq_id seq) noexcept {
    int32_t last = -1;
    guarded([&] {
        const std::shared_lock alive(life_);
        const stream *         s = streams_.find(streams_.find_by_memory(memory));
        last                     = s != nullptr ? s->last_position(memory, seq) : -1;
    });
    return last;
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
        masks_.forget(ctx);
        const std::shared_lock alive(life_);
        if (const std::unique_ptr<stream> ended = streams_.take(ctx)) {
            ended->close();
        }
    });
}

// ---- for the owner --------------------------------------------------------------------------------------------------

void tap::set_phase(phase p) {
    streams_.set_phase(p);
}

void tap::set_mask(llama_context * ctx, const expert_mask & mask) {
    if (!masks_.has_own(ctx) && streams_.find(ctx) != nullptr) {
        throw error("a context is masked before its first batch, or never");
    }
    check_fit(mask, query_model(api_, ctx));
    masks_.set(ctx, mask, [&](ggml_backend_sched_t sched, graph_mask & m) {
        before_reset(sched);  // what is computed and not yet read
        api_.ggml_backend_sched_synchronize(sched);
        m.set(mask);
    });
}

void tap::read_pending() {
    for (const auto & [sched, p] : probes_.pending()) {
        api_.ggml_backend_sched_synchronize(sched);
        collect(sched, *p);
    }
    for (stream * s : streams_.all()) {
        s->release();
        failure_.add(s->failure());
    }
}

bool tap::close_all() {
    if (hook_guard::inside()) {
        return false;
    }
    const std::unique_lock alone(life_);
    closed_ = true;
    for (const std::unique_ptr<stream> & s : streams_.take_all()) {
        s->close();
        failure_.add(s->failure());
    }
    return true;
}

eval_capture & tap::new_eval_capture() {
    const auto deliver = [this](const eval_capture & from, ubatch_buffer & u) {
        const std::shared_lock alive(life_);
        if (!closed_) {
            stream * const of_batch = streams_.find(current_batch::context());
            stream &       s        = of_batch != nullptr ? *of_batch : streams_.of_sched(nullptr);
            submit(s, u, from.weight_reads(), from.weight_address());
        }
    };
    const std::lock_guard lock(making_);
    eval_captures_.push_back(std::make_unique<eval_capture>(api_, options_, deliver));
    return *eval_captures_.back();
}

}  // namespace moescope::capture
