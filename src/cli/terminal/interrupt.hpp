#pragma once

namespace moescope::cli {

// While it lives, the first SIGINT or SIGTERM only asks for an orderly end; the second ends the process as usual.
// One at a time.
class interrupt_guard {
public:
    interrupt_guard();
    ~interrupt_guard();
    interrupt_guard(const interrupt_guard &)             = delete;
    interrupt_guard & operator=(const interrupt_guard &) = delete;

    static bool requested();  // any thread
    static int  exit_code();  // 128 + the signal: 130 for SIGINT
};

}  // namespace moescope::cli
