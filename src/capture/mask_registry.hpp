#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "capture/graph_mask.hpp"

namespace moescope::capture {

// Who masks which scheduler: one mask for every context, and others for contexts that are given their own. Schedulers are
// created, used and freed by any thread; a graph_mask is used by the thread that uses its scheduler. Every method locks, for
// the look-up only.
class mask_registry {
public:
    mask_registry(const ggml_api & api, expert_mask of_all) : api_(api), of_all_(std::move(of_all)) {}

    // What masks the scheduler's graphs, made where there is none, or null where nothing does. ctx: whose batch the calling
    // thread computes, or null.
    graph_mask * of_sched(ggml_backend_sched_t sched, llama_context * ctx);

    // The context has a mask of its own from now on. Calls changed(graph_mask) for what masks its schedulers already, one by
    // one; where that throws, the context keeps its mask.
    void set(llama_context * ctx, const expert_mask & mask,
             const std::function<void(ggml_backend_sched_t, graph_mask &)> & changed);
    bool has_own(llama_context * ctx) const;

    // The scheduler or context is being freed, and computes nothing. The scheduler's backends may be gone already.
    void drop(ggml_backend_sched_t sched);
    void forget(llama_context * ctx);

private:
    struct masked {
        std::unique_ptr<graph_mask> mask;
        llama_context *             owner;  // null: the mask is that of all
    };

    const ggml_api &  api_;
    const expert_mask of_all_;

    mutable std::mutex                               mutex_;  // guards the tables, not what the masks do
    std::unordered_map<ggml_backend_sched_t, masked> masked_;
    std::unordered_map<llama_context *, expert_mask> own_;
};

}  // namespace moescope::capture
