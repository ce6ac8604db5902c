#include "capture/stream_registry.hpp"

#include "capture/model_query.hpp"

namespace moescope::capture {

namespace {

template <class Key>
std::unique_ptr<stream> take_from(std::unordered_map<Key, std::unique_ptr<stream>> & streams, Key key) {
    const auto it = streams.find(key);
    if (it == streams.end()) {
        return nullptr;
    }
    std::unique_ptr<stream> s = std::move(it->second);
    streams.erase(it);
    return s;
}

}  // namespace

std::unique_ptr<stream> stream_registry::make(llama_context * ctx) {
    auto s = std::make_unique<stream>(api_, ctx, query_model(api_, ctx), board_, open_);
    s->set_phase(phase_);
    const auto warming = warming_.find(ctx);
    s->set_warmup(warming != warming_.end() && warming->second);
    return s;
}

stream & stream_registry::of_context(llama_context * ctx) {
    const std::lock_guard lock(mutex_);
    auto                  it = streams_.find(ctx);
    if (it == streams_.end()) {
        it = streams_.emplace(ctx, make(ctx)).first;
    }
    return *it->second;
}

stream & stream_registry::of_sched(ggml_backend_sched_t sched) {
    const std::lock_guard lock(mutex_);
    if (const auto owner = owners_.find(sched); owner != owners_.end()) {
        if (const auto it = streams_.find(owner->second); it != streams_.end()) {
            return *it->second;
        }
    }
    auto it = orphans_.find(sched);
    if (it == orphans_.end()) {
        it = orphans_.emplace(sched, make(nullptr)).first;
    }
    return *it->second;
}

stream * stream_registry::find(llama_context * ctx) const {
    const std::lock_guard lock(mutex_);
    const auto            it = streams_.find(ctx);
    return it == streams_.end() ? nullptr : it->second.get();
}

llama_context * stream_registry::find_by_memory(llama_memory_t memory) const {
    const std::lock_guard lock(mutex_);
    for (const auto & [ctx, s] : streams_) {
        if (memory != nullptr && api_.llama_get_memory != nullptr && api_.llama_get_memory(ctx) == memory) {
            return ctx;
        }
    }
    return nullptr;
}

void stream_registry::set_owner(ggml_backend_sched_t sched, llama_context * ctx) {
    const std::lock_guard lock(mutex_);
    owners_[sched] = streams_.count(ctx) != 0 ? ctx : nullptr;
}

std::vector<ggml_backend_sched_t> stream_registry::scheds_of(llama_context * ctx) const {
    const std::lock_guard             lock(mutex_);
    std::vector<ggml_backend_sched_t> its_own;
    for (const auto & [sched, owner] : owners_) {
        if (owner == ctx && ctx != nullptr) {
            its_own.push_back(sched);
        }
    }
    return its_own;
}

void stream_registry::set_warmup(llama_context * ctx, bool on) {
    const std::lock_guard lock(mutex_);
    warming_[ctx] = on;
    if (const auto it = streams_.find(ctx); it != streams_.end()) {
        it->second->set_warmup(on);
    }
}

void stream_registry::set_phase(phase p) {
    const std::lock_guard lock(mutex_);
    phase_ = p;
    for (auto & [ctx, s] : streams_) {
        s->set_phase(p);
    }
}

std::unique_ptr<stream> stream_registry::take(ggml_backend_sched_t sched) {
    const std::lock_guard lock(mutex_);
    owners_.erase(sched);
    return take_from(orphans_, sched);
}

std::unique_ptr<stream> stream_registry::take(llama_context * ctx) {
    const std::lock_guard lock(mutex_);
    warming_.erase(ctx);
    return take_from(streams_, ctx);
}

std::vector<std::unique_ptr<stream>> stream_registry::take_all() {
    const std::lock_guard                lock(mutex_);
    std::vector<std::unique_ptr<stream>> all;
    for (auto & entry : streams_) {
        all.push_back(std::move(entry.second));
    }
    for (auto & entry : orphans_) {
        all.push_back(std::move(entry.second));
    }
    streams_.clear();
    orphans_.clear();
    return all;
}

std::vector<stream *> stream_registry::all() const {
    const std::lock_guard lock(mutex_);
    std::vector<stream *> list;
    for (const auto & entry : streams_) {
        list.push_back(entry.second.get());
    }
    return list;
}

}  // namespace moescope::capture
