#pragma once

#include <functional>
#include <string>

namespace moescope::make_model {

// Runs work(send) in a forked child. What it passes to send comes back as `output`; what llama.cpp logs as an error,
// an exception's text, or an assertion's message comes back as `error` (empty when all went well).
struct child_result {
    std::string output, error;
};
using send_fn = std::function<void(const std::string &)>;
child_result run_in_child(const std::function<void(const send_fn &)> & work);

// The same of another program: its stdout is `output`, its stderr `error` where it fails.
child_result run_program(const std::string & program, const std::string & argument);

}  // namespace moescope::make_model
