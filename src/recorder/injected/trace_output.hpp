#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/expert_counts.hpp"
#include "core/routing.hpp"
#include "recorder/injected/settings.hpp"
#include "trace/writer.hpp"

namespace moescope::recorder {

// Writes whole lines to stderr, past any buffer of the host's.
void print_stderr(const std::string & lines);

// Hands everything to several sinks. A sink that fails is dropped with one line on stderr; the others go on.
class fan_out final : public routing_sink {
public:
    void add(std::unique_ptr<routing_sink> sink) { sinks_.push_back(std::move(sink)); }
    bool empty() const { return sinks_.empty(); }

    void     model(const model_info & m) override;
    void     piece(int32_t token, const std::string & text) override;
    uint32_t access(const access_list & list) override;
    void     ubatch(const routed_ubatch & u) override;
    void     note(const std::string & text) override;

    // Told of each sink's failure.
    std::function<void(const std::string & why)> on_failure;

private:
    template <class F>
    void for_each(F f);

    std::vector<std::unique_ptr<routing_sink>> sinks_;
};

// The trace; finished, with the time spent on it, when it is destroyed (unless writing it failed).
class trace_output final : public routing_sink {
public:
    using told = std::function<void(const std::string & why)>;
    trace_output(const settings & s, uint32_t stream, std::function<uint64_t()> capture_ns, told on_failure);
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
