#pragma once

#include <vector>

#include "capture/ggml_api.hpp"

namespace moescope::capture {

// The backends that a scheduler distributes its graphs over.
class scheduler_backends {
public:
    scheduler_backends(const ggml_api & api, ggml_backend_sched_t sched);

    // Whether all of them work in host memory, and one of them is the CPU.
    bool           cpu_only() const { return cpu_only_; }
    ggml_backend_t cpu() const { return cpu_; }  // null when there is none
    // The one that holds a weight; null when it is not clear.
    ggml_backend_t holding(const ggml_tensor * weight) const;

private:
    const ggml_api &            api_;
    std::vector<ggml_backend_t> all_;
    ggml_backend_t              cpu_      = nullptr;
    bool                        cpu_only_ = true;
};

}  // namespace moescope::capture
