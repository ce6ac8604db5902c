#include "trace/byte_sink.hpp"

#include "core/error.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

namespace moescope::trace {

namespace {

// A write over RLIMIT_FSIZE raises SIGXFSZ, which would end a host that never asked for this file.
class sigxfsz_blocked {
public:
    sigxfsz_blocked() {
        sigset_t pending;
        sigemptyset(&set_);
        sigaddset(&set_, SIGXFSZ);
        sigpending(&pending);
        was_pending_ = sigismember(&pending, SIGXFSZ) == 1;
        pthread_sigmask(SIG_BLOCK, &set_, &old_);
    }
    ~sigxfsz_blocked() {
        if (!was_pending_) {
            const timespec now = {0, 0};
            while (sigtimedwait(&set_, nullptr, &now) == -1 && errno == EINTR) {
            }
        }
        pthread_sigmask(SIG_SETMASK, &old_, nullptr);
    }
    sigxfsz_blocked(const sigxfsz_blocked &)             = delete;
    sigxfsz_blocked & operator=(const sigxfsz_blocked &) = delete;

private:
    sigset_t set_, old_;
    bool     was_pending_ = false;
};

class file_sink final : public byte_sink {
public:
    file_sink(std::string path, existing_file policy) : path_(std::move(path)) {
        const int mode = policy == existing_file::replace ? O_TRUNC : O_EXCL;
        fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND | mode, 0666);
        if (fd_ < 0 && errno == EEXIST) {
            throw error("the file exists").in(path_).fix("choose another name or give --force");
        }
        if (fd_ < 0) {
            throw error(std::string("cannot create: ") + std::strerror(errno)).in(path_).fix("choose another place with -o");
        }
    }
    ~file_sink() override { ::close(fd_); }
    file_sink(const file_sink &)             = delete;
    file_sink & operator=(const file_sink &) = delete;

    void write(const void * data, size_t size) override {
        const sigxfsz_blocked quiet;
        const char *          at   = static_cast<const char *>(data);
        size_t                left = size;
        while (left > 0) {
            const ssize_t n = ::write(fd_, at, left);
            if (n < 0 && errno == EINTR) {
                continue;
            }
            if (n <= 0) {
                const int reason = n < 0 ? errno : ENOSPC;
                cut_back();
                throw error(std::string("cannot write: ") + std::strerror(reason))
                    .in(path_)
                    .fix("what was written before reads well; free some space or choose another place");
            }
            at += n;
            left -= static_cast<size_t>(n);
        }
        size_ += size;
    }
    uint64_t    size() const override { return size_; }
    std::string path() const override { return path_; }

private:
    void cut_back() {
        if (::ftruncate(fd_, static_cast<off_t>(size_)) != 0) {
            // The reader ignores a torn last chunk; nothing more can be done here.
        }
    }

    std::string path_;
    int         fd_   = -1;
    uint64_t    size_ = 0;
};

}  // namespace

std::unique_ptr<byte_sink> open_file_sink(const std::string & path, existing_file policy) {
    return std::make_unique<file_sink>(path, policy);
}

}  // namespace moescope::trace
