#pragma once

// What every hook does first and last, so that the program that it runs in notices nothing of it.

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <exception>

#include <pthread.h>

namespace moescope::capture {

inline uint64_t steady_ns() {
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

// While it lives, the calling thread is inside a hook. At its end errno is what it was. The thread cannot be cancelled
// meanwhile, as it could be where files are written: unwinding through a noexcept function would end the program.
class hook_guard {
public:
    hook_guard() {
        entered_ += 1;
        ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_);
    }
    ~hook_guard() {
        ::pthread_setcancelstate(cancel_state_, nullptr);
        entered_ -= 1;
        errno = errno_;
    }
    hook_guard(const hook_guard &)             = delete;
    hook_guard & operator=(const hook_guard &) = delete;

    // Whether the calling thread is in a hook: what interrupted it there (a signal handler) must take no lock.
    static bool inside() { return entered_ > 0; }

private:
    static inline thread_local int entered_ = 0;

    const int errno_        = errno;
    int       cancel_state_ = 0;
};

// Does a hook's work under a guard. No exception leaves it: failed(text) is told.
template <class Work, class Failed>
void guarded(Work && work, Failed && failed) noexcept {
    const hook_guard guard;
    try {
        work();
    } catch (const std::exception & e) {
        failed(e.what());
    }
}

// Adds the time from its making to its end to `total`, in nanoseconds.
class stopwatch {
public:
    explicit stopwatch(std::atomic<uint64_t> & total) : total_(total), begin_(steady_ns()) {}
    ~stopwatch() { total_ += steady_ns() - begin_; }
    stopwatch(const stopwatch &)             = delete;
    stopwatch & operator=(const stopwatch &) = delete;

private:
    std::atomic<uint64_t> & total_;
    const uint64_t          begin_;
};

}  // namespace moescope::capture
