#include "capture/mask_registry.hpp"

#include <vector>

namespace moescope::capture {

graph_mask * mask_registry::of_sched(ggml_backend_sched_t sched, llama_context * ctx) {
    const std::lock_guard lock(mutex_);
    const auto            own   = ctx != nullptr ? own_.find(ctx) : own_.end();
    llama_context * const owner = own != own_.end() ? ctx : nullptr;
    const auto            it    = masked_.find(sched);
    if (it != masked_.end() && (it->second.owner == owner || ctx == nullptr)) {
        return it->second.mask.get();
    }
    if (owner == nullptr && of_all_.empty()) {
        masked_.erase(sched);
        return nullptr;
    }
    const expert_mask & mask = owner != nullptr ? own->second : of_all_;
    const auto          kind = owner != nullptr ? graph_mask::kind::changeable : graph_mask::kind::fixed;
    masked &            m    = masked_[sched];
    m                        = {std::make_unique<graph_mask>(api_, sched, mask, kind), owner};
    return m.mask.get();
}

void mask_registry::set(llama_context * ctx, const expert_mask & mask,
                        const std::function<void(ggml_backend_sched_t, graph_mask &)> & changed) {
    std::vector<std::pair<ggml_backend_sched_t, graph_mask *>> its_own;
    {
        const std::lock_guard lock(mutex_);
        for (auto & [sched, m] : masked_) {
            if (m.owner == ctx) {
                its_own.emplace_back(sched, m.mask.get());
            }
        }
    }
    for (const auto & [sched, m] : its_own) {
        changed(sched, *m);
    }
    const std::lock_guard lock(mutex_);
    own_[ctx] = mask;
}

bool mask_registry::has_own(llama_context * ctx) const {
    const std::lock_guard lock(mutex_);
    return own_.count(ctx) != 0;
}

void mask_registry::drop(ggml_backend_sched_t sched) {
    const std::lock_guard lock(mutex_);
    masked_.erase(sched);
}

void mask_registry::forget(llama_context * ctx) {
    const std::lock_guard lock(mutex_);
    own_.erase(ctx);
}

}  // namespace moescope::capture
