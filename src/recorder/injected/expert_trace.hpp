#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/expert_counts.hpp"
#include "core/routing.hpp"
#include "recorder/injected/settings.hpp"

namespace moescope::recorder {

// LLAMA_EXPERT_TRACE_*: counts on stderr and as JSON when it is destroyed, names as they come.
class expert_trace final : public routing_sink {
public:
    expert_trace(const settings & s, uint32_t stream);
    ~expert_trace() override;

    uint32_t access(const access_list & list) override;
    void     ubatch(const routed_ubatch & u) override;

private:
    void print_names(const routed_ubatch & u);
    void write_json() const;

    bool                     stats_, names_, per_layer_;
    std::string              json_path_;
    uint32_t                 stream_;
    expert_counts            counts_;
    std::vector<access_list> reads_;
};

}  // namespace moescope::recorder
