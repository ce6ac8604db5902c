#pragma once

#include <string>

namespace moescope::cli {

// Catches what somebody else's code writes to stdout or stderr while it lives. Should that code leave the process meanwhile,
// the first line of what it wrote to stderr still reaches the terminal, so that no failure is silent.
class output_capture {
public:
    explicit output_capture(int fd);  // STDOUT_FILENO or STDERR_FILENO; one capture of each at a time
    ~output_capture();
    output_capture(const output_capture &)             = delete;
    output_capture & operator=(const output_capture &) = delete;

    std::string release();  // ends the capture and returns the text

private:
    static void replay_at_exit();

    int fd_;
    int saved_ = -1;  // what fd was
    int file_  = -1;  // what stands in for it
};

}  // namespace moescope::cli
