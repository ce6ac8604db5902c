#include "recorder/injected/idle_watch.hpp"

#include <chrono>
#include <csignal>
#include <utility>

#include <pthread.h>

namespace moescope::recorder {

namespace {

// A thread inherits what is blocked where it is made.
class no_signals {
public:
    no_signals() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~no_signals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    no_signals(const no_signals &)             = delete;
    no_signals & operator=(const no_signals &) = delete;

private:
    sigset_t before_;
};

}  // namespace

idle_watch::idle_watch(std::function<bool()> look) : look_(std::move(look)) {
    const no_signals quiet;
    thread_ = std::thread([this] { run(); });
}

idle_watch::~idle_watch() {
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

void idle_watch::wake() {
    const std::lock_guard lock(mutex_);
    if (!awake_) {
        awake_ = true;
        changed_.notify_one();
    }
}

void idle_watch::run() {
    constexpr auto   between_looks = std::chrono::milliseconds(500);
    std::unique_lock lock(mutex_);
    while (!ended_) {
        if (!awake_) {
            changed_.wait(lock);
            continue;
        }
        if (changed_.wait_for(lock, between_looks, [this] { return ended_; })) {
            return;
        }
        awake_ = false;  // who wakes it during the look is not overheard
        lock.unlock();
        const bool go_on = look_();
        lock.lock();
        awake_ = awake_ || go_on;
    }
}

}  // namespace moescope::recorder
