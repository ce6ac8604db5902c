#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "capture/host_callback.hpp"
#include "capture/probe.hpp"

namespace moescope::capture {

// Who watches which scheduler: a probe for each, and what stands before the program's own eval callback where it has one.
// Schedulers are created, used and freed by any thread; a probe is used by the thread that uses its scheduler. Every method
// locks, for the look-up only. What a scheduler calls lives until drop(); where the scheduler outlives the registry, it stays.
class probe_registry {
public:
    probe_registry(const ggml_api & api, const capture_options & options) : api_(api), options_(options) {}
    ~probe_registry();
    probe_registry(const probe_registry &)             = delete;
    probe_registry & operator=(const probe_registry &) = delete;

    probe *         find(ggml_backend_sched_t sched) const;  // null when it has none
    probe &         of_sched(ggml_backend_sched_t sched);    // made where there is none
    host_callback & host_of(ggml_backend_sched_t sched);  // likewise, with its probe; the probe minds it from then on

    // The scheduler is being freed.
    void drop(ggml_backend_sched_t sched);
    // Those whose values nobody has waited for yet.
    std::vector<std::pair<ggml_backend_sched_t, probe *>> pending() const;

private:
    struct watched {
        std::unique_ptr<probe>         p;
        std::unique_ptr<host_callback> host;
    };
    watched & made(ggml_backend_sched_t sched);

    const ggml_api &        api_;
    const capture_options & options_;

    mutable std::mutex                                mutex_;  // guards the table, not what the probes do
    std::unordered_map<ggml_backend_sched_t, watched> watched_;
};

}  // namespace moescope::capture
