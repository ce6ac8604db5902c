#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "capture/capture_options.hpp"
#include "core/routing.hpp"
#include "recorder/injected/idle_watch.hpp"
#include "recorder/injected/settings.hpp"
#include "trace/writer.hpp"

namespace moescope::recorder {

// The trace; finished, with the time spent on it, when it is destroyed (unless writing it failed). A program that computes
// nothing any more has all its rows in the file within a second: whatever ends it then, nothing is lost.
class trace_output final : public routing_sink {
public:
    using told = std::function<void(const std::string & why)>;
    // mask: under which the stream is computed, as the trace's head has it.
    trace_output(const settings & s, uint32_t stream, std::string mask, std::function<capture::time_spent()> spent,
                 told on_failure);
    ~trace_output() override;

    void     model(const model_info & m) override;
    void     piece(int32_t token, const std::string & text) override;
    uint32_t access(const access_list & list) override;
    void     ubatch(const routed_ubatch & u) override;
    void     memory(const memory_event & e) override;
    void     note(const std::string & text) override;

    const std::string & path() const { return writer_.path(); }

private:
    std::unique_lock<std::mutex> lock();
    void                         wake_watch(bool pending) const;
    bool                         flush_when_idle();

    std::mutex                           mutex_;  // guards what is below
    trace::trace_writer                  writer_;
    std::function<capture::time_spent()> spent_;
    told                                 on_failure_;
    uint64_t                             last_ns_ = 0;
    uint64_t    n_ubatches_ = 0, n_seen_ = 0;  // by the ubatch that came last, and by the watch
    std::string failure_;                      // of a flush that nobody waited for

    std::unique_ptr<idle_watch> watch_;  // the last member: its thread uses the others
};

}  // namespace moescope::recorder
