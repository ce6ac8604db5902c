#include "report/http_server.hpp"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace moescope::report {

namespace {

using clock = std::chrono::steady_clock;
using when  = clock::time_point;
using std::chrono::milliseconds;

constexpr size_t       max_threads = 128;  // each of them asleep in a system call while its client is slow
constexpr int          crowded     = 32;   // connections
constexpr milliseconds to_ask(5000), to_ask_when_crowded(1000), to_take_the_answer(30000);

// A thread for each connection, up to max_threads; what is more than that waits.
class growing_pool final : public httplib::TaskQueue {
public:
    void enqueue(std::function<void()> job) override {
        const std::lock_guard lock(mutex_);
        jobs_.push_back(std::move(job));
        if (jobs_.size() > n_idle_ && threads_.size() < max_threads) {
            threads_.emplace_back([this] { work(); });
        }
        changed_.notify_one();
    }
    void shutdown() override {
        {
            const std::lock_guard lock(mutex_);
            ended_ = true;
        }
        changed_.notify_all();
        for (std::thread & t : threads_) {
            t.join();
        }
    }

private:
    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            n_idle_ += 1;
            changed_.wait(lock, [this] { return ended_ || !jobs_.empty(); });
            n_idle_ -= 1;
            if (jobs_.empty()) {
                return;
            }
            const std::function<void()> job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            job();
            lock.lock();
        }
    }

    std::mutex                       mutex_;  // guards what is below
    std::condition_variable          changed_;
    std::list<std::function<void()>> jobs_;
    std::vector<std::thread>         threads_;
    size_t                           n_idle_ = 0;
    bool                             ended_  = false;
};

// A socket whose request must be there by one time, and whose answer must be taken by another.
class timed_stream final : public httplib::Stream {
public:
    timed_stream(int socket, milliseconds to_read) : socket_(socket), read_by_(clock::now() + to_read) {}

    bool    is_readable() const override { return wait_for(POLLIN, read_by_); }
    bool    is_writable() const override { return wait_for(POLLOUT, write_by()); }
    ssize_t read(char * to, size_t size) override {
        if (next_ == end_) {
            if (!is_readable()) {
                return -1;
            }
            const ssize_t n = ::recv(socket_, buffer_, sizeof(buffer_), 0);
            if (n <= 0) {
                return n;
            }
            next_ = 0;
            end_  = static_cast<size_t>(n);
        }
        const size_t n = std::min(size, end_ - next_);
        std::copy_n(buffer_ + next_, n, to);
        next_ += n;
        return static_cast<ssize_t>(n);
    }
    ssize_t write(const char * from, size_t size) override {
        return is_writable() ? ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
    }
    void     get_remote_ip_and_port(std::string & ip, int & port) const override { ip.clear(), port = 0; }
    void     get_local_ip_and_port(std::string & ip, int & port) const override { ip.clear(), port = 0; }
    socket_t socket() const override { return socket_; }

private:
    when write_by() const {
        if (write_by_ == when()) {
            write_by_ = clock::now() + to_take_the_answer;
        }
        return write_by_;
    }
    bool wait_for(short event, when deadline) const {
        for (;;) {
            const auto left = std::chrono::duration_cast<milliseconds>(deadline - clock::now()).count();
            if (left <= 0) {
                return false;
            }
            pollfd    p = {socket_, event, 0};
            const int n = ::poll(&p, 1, static_cast<int>(left));
            if (n > 0 || (n < 0 && errno != EINTR)) {
                return n > 0;
            }
        }
    }

    const int    socket_;
    const when   read_by_;
    mutable when write_by_ = {};  // set by the first write
    char         buffer_[4096];   // httplib reads byte by byte
    size_t       next_ = 0, end_ = 0;
};

}  // namespace

http_server::http_server() {
    new_task_queue = [] { return new growing_pool; };
}

milliseconds http_server::time_to_ask() const {
    return n_connected_ > crowded ? to_ask_when_crowded : to_ask;
}

bool http_server::process_and_close_socket(socket_t socket) {
    n_connected_ += 1;
    timed_stream stream(socket, time_to_ask());
    bool         closed = false;
    const bool   done   = process_request(stream, true, closed, nullptr);
    ::shutdown(socket, SHUT_RDWR);
    ::close(socket);
    n_connected_ -= 1;
    return done;
}

}  // namespace moescope::report
