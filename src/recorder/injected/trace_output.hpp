#pragma once

#include <functional>
#include <string>

#include "core/routing.hpp"
#include "recorder/injected/settings.hpp"
#include "trace/writer.hpp"

namespace moescope::recorder {

// The trace; finished, with the time spent on it, when it is destroyed (unless writing it failed).
class trace_output final : public routing_sink {
public:
    using told = std::function<void(const std::string & why)>;
    // mask: under which the stream is computed, as the trace's head has it.
    trace_output(const settings & s, uint32_t stream, std::string mask, std::function<uint64_t()> capture_ns,
                 told on_failure);
    ~trace_output() override;

    void     model(const model_info & m) override { writer_.model(m); }
    void     piece(int32_t token, const std::string & text) override { writer_.piece(token, text); }
    uint32_t access(const access_list & list) override { return writer_.access(list); }
    void     ubatch(const routed_ubatch & u) override;
    void     note(const std::string & text) override { writer_.note(text); }

    const std::string & path() const { return writer_.path(); }

private:
    trace::trace_writer       writer_;
    std::function<uint64_t()> capture_ns_;
    told                      on_failure_;
    uint64_t                  last_ns_ = 0;
};

}  // namespace moescope::recorder
