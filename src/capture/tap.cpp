#include "capture/tap.hpp"

#include <chrono>

#include "capture/model_query.hpp"

namespace moescope::capturing {

namespace {

std::atomic<tap *> the_tap{nullptr};   // the one registry that hooks reach

// Whose llama_decode the calling thread is in.
thread_local llama_context * current_context = nullptr;

uint64_t steady_ns() {
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

}  // namespace

class tap::timed {
public:
    explicit timed(tap & t) : tap_(t), begin_(steady_ns()) {}
    ~timed() { tap_.capture_ns_ += steady_ns() - begin_; }

private:
    tap &    tap_;
    uint64_t begin_;
};

tap::tap(ggml_api api, capture_options options, open_sink open)
    : api_(api), options_(std::move(options)), open_(std::move(open)), started_ns_(steady_ns()) {}

tap::~tap() = default;

tap * tap::active() {
    return the_tap.load(std::memory_order_acquire);
}

void tap::activate(tap * t) {
    the_tap.store(t, std::memory_order_release);
}

uint64_t tap::now_ns() const {
    return steady_ns() - started_ns_;
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

uint32_t tap::n_streams() const {
    const std::lock_guard lock(mutex_);
    return n_streams_;
}

void tap::set_phase(phase p) {
    const std::lock_guard lock(mutex_);
    phase_ = p;
    for (auto & [ctx, s] : streams_) {
        s->set_phase(p);
    }
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

// A scheduler belongs to the context whose llama_decode first computes with it.
stream & tap::stream_of(llama_context * ctx, ggml_backend_sched_t sched) {
    const std::lock_guard lock(mutex_);
    std::unique_ptr<stream> & slot = ctx != nullptr ? streams_[ctx] : orphans_[sched];
    if (!slot) {
        slot = std::make_unique<stream>(api_, ctx, query_model(api_, ctx), [this](const model_info & m) {
            uint32_t number;
            {
                const std::lock_guard count(mutex_);
                number = ++n_streams_;
            }
            return open_(number, m);
        });
        slot->set_phase(phase_);
        const auto warming = warming_.find(ctx);
        slot->set_warmup(warming != warming_.end() && warming->second);
    }
    return *slot;
}

void tap::before_plan(ggml_backend_sched_t sched, ggml_cgraph * graph) noexcept {
    try {
        const timed t(*this);
        saw_graph_ = true;
        probe * p  = find_probe(sched, true);
        if (p == nullptr) {
            return;
        }
        if (p->pending()) {
            collect(sched, *p);
        }
        if (current_context != nullptr) {
            p->set_n_layer(first_mtp_layer(stream_of(current_context, sched).model()));
        }
        p->plan(graph);
        if (!p->failure().empty()) {
            complain(p->failure());
        }
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

void tap::after_alloc(ggml_backend_sched_t sched) noexcept {
    try {
        const timed t(*this);
        if (probe * p = find_probe(sched, false)) {
            p->bind();
            saw_moe_ = saw_moe_ || p->has_moe();
        }
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

void tap::before_compute(ggml_backend_sched_t sched) noexcept {
    try {
        const timed t(*this);
        if (probe * p = find_probe(sched, false); p != nullptr && p->has_moe()) {
            if (p->pending()) {
                api_.ggml_backend_sched_synchronize(sched);   // its values are about to be overwritten
                collect(sched, *p);
            }
            p->read_inputs();
        }
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

void tap::after_compute(ggml_backend_sched_t sched, bool success) noexcept {
    try {
        const timed t(*this);
        if (callback * c = callback::take_current()) {
            c->end(success);
            return;
        }
        probe * p = find_probe(sched, false);
        if (p == nullptr || !p->has_moe()) {
            return;
        }
        {
            const std::lock_guard lock(mutex_);
            contexts_[sched] = current_context;
        }
        p->computed(success);
        if (p->pending() && p->synchronous()) {
            collect(sched, *p);
        }
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

void tap::synchronized(ggml_backend_sched_t sched) noexcept {
    try {
        if (probe * p = find_probe(sched, false); p != nullptr && p->pending()) {
            const timed t(*this);
            collect(sched, *p);
        }
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

void tap::before_reset(ggml_backend_sched_t sched) noexcept {
    try {
        if (probe * p = find_probe(sched, false); p != nullptr && p->pending()) {
            const timed t(*this);
            api_.ggml_backend_sched_synchronize(sched);
            collect(sched, *p);
        }
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

void tap::before_free(ggml_backend_sched_t sched) noexcept {
    before_reset(sched);
    try {
        const std::lock_guard lock(mutex_);
        probes_.erase(sched);
        contexts_.erase(sched);
        orphans_.erase(sched);
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

void tap::collect(ggml_backend_sched_t sched, probe & p) {
    const std::shared_lock alive(life_);
    if (closed_) {
        p.drop();
        return;
    }
    llama_context * ctx = nullptr;
    {
        const std::lock_guard lock(mutex_);
        ctx = contexts_[sched];
    }
    thread_local ubatch_buffer buffer;   // reused, so that steady work allocates nothing
    p.collect(buffer);
    stream & s = stream_of(ctx, sched);
    name_file(s, p.weight_address());
    submit(s, buffer, p.weight_reads());
}

void tap::name_file(stream & s, const void * weight_address) {
    if (!s.opened() && s.model().file.empty()) {
        s.set_file(file_behind(weight_address));
    }
}

void tap::submit(stream & s, ubatch_buffer & u, const access_list & reads) {
    u.time_ns = now_ns();
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
        stream &       s         = stream_of(current_context, nullptr);
        const uint32_t first_mtp = first_mtp_layer(s.model());
        name_file(s, from.weight_address());
        for (block_layout & l : u.layout) {
            l.flags |= first_mtp > 0 && l.layer >= static_cast<int32_t>(first_mtp) ? block_layout::mtp : 0u;
        }
        submit(s, u, from.weight_reads());
    }));
    return *callbacks_.back();
}

void tap::begin_batch(llama_context * ctx, const llama_batch * batch, bool encode) noexcept {
    try {
        const timed            t(*this);
        const std::shared_lock alive(life_);
        current_context = ctx;
        if (closed_) {
            return;
        }
        stream_of(ctx, nullptr).begin_batch(batch, encode);
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

void tap::perf_reset(llama_context * ctx) noexcept {
    try {
        const std::shared_lock alive(life_);
        const std::lock_guard  lock(mutex_);
        if (const auto it = streams_.find(ctx); it != streams_.end()) {
            it->second->perf_reset();
        }
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

void tap::memory_cleared(llama_memory_t memory) noexcept {
    try {
        const std::shared_lock alive(life_);
        const std::lock_guard  lock(mutex_);
        for (const auto & [ctx, s] : streams_) {
            if (ctx != nullptr && api_.llama_get_memory != nullptr && api_.llama_get_memory(ctx) == memory) {
                s->memory_cleared();
            }
        }
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

void tap::set_warmup(llama_context * ctx, bool on) noexcept {
    try {
        const std::lock_guard lock(mutex_);
        warming_[ctx] = on;
        if (const auto it = streams_.find(ctx); it != streams_.end()) {
            it->second->set_warmup(on);
        }
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

void tap::before_context_free(llama_context * ctx) noexcept {
    std::vector<ggml_backend_sched_t> its_own;
    try {
        const std::lock_guard lock(mutex_);
        for (const auto & [sched, owner] : contexts_) {
            if (owner == ctx) {
                its_own.push_back(sched);
            }
        }
    } catch (const std::exception & e) {
        complain(e.what());
    }
    for (ggml_backend_sched_t sched : its_own) {
        before_reset(sched);   // the last read
    }
    try {
        const std::shared_lock  alive(life_);
        std::unique_ptr<stream> ended;
        {
            const std::lock_guard lock(mutex_);
            if (const auto it = streams_.find(ctx); it != streams_.end()) {
                ended = std::move(it->second);
                streams_.erase(it);
            }
            warming_.erase(ctx);
        }
        if (current_context == ctx) {
            current_context = nullptr;
        }
        if (ended) {
            ended->close();
        }
    } catch (const std::exception & e) {
        complain(e.what());
    }
}

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
    std::vector<stream *> streams;
    {
        const std::lock_guard lock(mutex_);
        for (const auto & entry : streams_) {
            streams.push_back(entry.second.get());
        }
    }
    for (stream * s : streams) {
        s->release();
        if (!s->failure().empty()) {
            complain(s->failure());
        }
    }
}

void tap::close_all() {
    const std::unique_lock alone(life_);
    if (closed_.exchange(true)) {
        return;
    }
    std::unordered_map<llama_context *, std::unique_ptr<stream>>      streams;
    std::unordered_map<ggml_backend_sched_t, std::unique_ptr<stream>> orphans;
    {
        const std::lock_guard lock(mutex_);
        streams.swap(streams_);
        orphans.swap(orphans_);
    }
    for (auto & [ctx, s] : streams) {
        s->close();
        if (!s->failure().empty()) {
            complain(s->failure());
        }
    }
    for (auto & [sched, s] : orphans) {
        s->close();
    }
}

}  // namespace moescope::capturing
