#include "cli/llama/output_capture.hpp"

#include <cstdio>
#include <cstdlib>

#include <sys/mman.h>
#include <unistd.h>

namespace moescope::cli {

namespace {

output_capture * active_stderr = nullptr;  // stderr is one per process, so is its capture

}  // namespace

output_capture::output_capture(int fd) : fd_(fd) {
    static const int registered = std::atexit(replay_at_exit);
    (void)registered;
    std::fflush(nullptr);
    file_  = ::memfd_create("output", MFD_CLOEXEC);
    saved_ = ::dup(fd_);
    if (file_ >= 0 && saved_ >= 0) {
        ::dup2(file_, fd_);
        active_stderr = fd_ == STDERR_FILENO ? this : active_stderr;
    }
}

output_capture::~output_capture() {
    release();
}

std::string output_capture::release() {
    std::string text;
    if (file_ >= 0 && saved_ >= 0) {
        std::fflush(nullptr);
        ::dup2(saved_, fd_);
        active_stderr = active_stderr == this ? nullptr : active_stderr;
        text.resize(static_cast<size_t>(::lseek(file_, 0, SEEK_END)));
        const ssize_t got = ::pread(file_, text.data(), text.size(), 0);
        text.resize(got < 0 ? 0 : static_cast<size_t>(got));
    }
    for (int * fd : {&file_, &saved_}) {
        if (*fd >= 0) {
            ::close(*fd);
            *fd = -1;
        }
    }
    return text;
}

void output_capture::replay_at_exit() {
    if (active_stderr == nullptr) {
        return;
    }
    std::string line = active_stderr->release();
    line             = line.substr(0, line.find('\n'));
    line             = "moescope: " + (line.rfind("error: ", 0) == 0 ? line.substr(7) : line) + "\n";
    if (::write(STDERR_FILENO, line.data(), line.size()) < 0) {
        return;  // nowhere left to say it
    }
}

}  // namespace moescope::cli
