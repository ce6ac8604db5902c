#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "capture/session.hpp"
#include "logs/text_log.hpp"
#include "trace/writer.hpp"

struct common_params;

namespace moescope::cli {

struct recording_options {
    std::string              path;      // of the trace
    std::string              log_path;  // empty: no log
    capture::capture_options capture;
    trace::writer_options    writer;  // the log follows its policy for existing files
};

// What `run` leaves of one run: the trace, and the log where asked for. Opened when the model's first ubatch comes, so that a
// run that fails before leaves no file. Both grow ubatch by ubatch.
class recording {
public:
    explicit recording(recording_options o);

    capture::session &          session() { return session_; }
    const trace::trace_writer * writer() const { return writer_.get(); }  // null before the first ubatch

    void prepare(common_params & params);  // what the context must be made with
    void check() const;                    // throws what stopped the recording, if something did
    void note(const std::string & text);
    void begin_prompt(const std::string & text, size_t n_tokens);  // before it is computed
    void finish(const std::string & reason);

private:
    std::unique_ptr<routing_sink> open(uint32_t stream);
    void                          hand_over_notes();

    recording_options                     o_;
    std::vector<std::string>              pending_notes_;
    std::pair<std::string, size_t>        prompt_;  // text and tokens of the latest
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
    std::unique_ptr<trace::trace_writer>  writer_;  // these two live longer than the session that feeds them
    std::unique_ptr<logs::text_log>       log_;
    capture::session                      session_;
};

}  // namespace moescope::cli
