#include "capture/probe_registry.hpp"

namespace moescope::capture {

probe_registry::~probe_registry() {
    for (auto & entry : watched_) {
        // A scheduler that outlives the capture goes on calling it, and no hook will see that scheduler's end.
        static_cast<void>(entry.second.host.release());
    }
}

probe * probe_registry::find(ggml_backend_sched_t sched) const {
    const std::lock_guard lock(mutex_);
    const auto            it = watched_.find(sched);
    return it == watched_.end() ? nullptr : it->second.p.get();
}

probe & probe_registry::of_sched(ggml_backend_sched_t sched) {
    const std::lock_guard lock(mutex_);
    return *made(sched).p;
}

host_callback & probe_registry::host_of(ggml_backend_sched_t sched) {
    const std::lock_guard lock(mutex_);
    watched &             w = made(sched);
    if (w.host == nullptr) {
        w.host = std::make_unique<host_callback>();
        w.p->set_host(w.host.get());
    }
    return *w.host;
}

void probe_registry::drop(ggml_backend_sched_t sched) {
    const std::lock_guard lock(mutex_);
    watched_.erase(sched);
}

std::vector<std::pair<ggml_backend_sched_t, probe *>> probe_registry::pending() const {
    const std::lock_guard                                 lock(mutex_);
    std::vector<std::pair<ggml_backend_sched_t, probe *>> waiting;
    for (const auto & [sched, w] : watched_) {
        if (w.p->pending()) {
            waiting.emplace_back(sched, w.p.get());
        }
    }
    return waiting;
}

probe_registry::watched & probe_registry::made(ggml_backend_sched_t sched) {
    const auto it = watched_.find(sched);
    if (it != watched_.end()) {
        return it->second;
    }
    watched w{std::make_unique<probe>(api_, sched, options_), nullptr};
    return watched_.emplace(sched, std::move(w)).first->second;
}

}  // namespace moescope::capture
