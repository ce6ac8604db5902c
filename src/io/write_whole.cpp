#include "io/write_whole.hpp"

#include <cerrno>
#include <csignal>
#include <initializer_list>

#include <pthread.h>
#include <unistd.h>

namespace moescope::io {

namespace {

class signals_withheld {
public:
    signals_withheld() {
        sigset_t pending, both;
        sigemptyset(&both);
        sigemptyset(&ours_);
        sigpending(&pending);
        for (const int signal : {SIGXFSZ, SIGPIPE}) {
            sigaddset(&both, signal);
            if (sigismember(&pending, signal) == 0) {
                sigaddset(&ours_, signal);  // what is pending already is the host's, and stays
            }
        }
        pthread_sigmask(SIG_BLOCK, &both, &old_);
    }
    ~signals_withheld() {
        const timespec now = {0, 0};
        while (sigtimedwait(&ours_, nullptr, &now) != -1 || errno == EINTR) {
        }
        pthread_sigmask(SIG_SETMASK, &old_, nullptr);
    }
    signals_withheld(const signals_withheld &)             = delete;
    signals_withheld & operator=(const signals_withheld &) = delete;

private:
    sigset_t ours_, old_;
};

}  // namespace

int write_whole(int fd, const void * data, size_t size) noexcept {
    const signals_withheld quiet;
    const char *           at = static_cast<const char *>(data);
    while (size > 0) {
        const ssize_t n = ::write(fd, at, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : ENOSPC;
        }
        at += n;
        size -= static_cast<size_t>(n);
    }
    return 0;
}

}  // namespace moescope::io
