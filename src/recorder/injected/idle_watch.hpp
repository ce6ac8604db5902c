#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace moescope::recorder {

// A thread of the host that nobody notices: no signal is delivered to it, and it sleeps without a timer until it is woken.
// From then on it calls `look` twice a second, until that says that there is nothing more to wait for.
class idle_watch {
public:
    explicit idle_watch(std::function<bool()> look);  // throws std::system_error where there can be no thread
    ~idle_watch();                                    // waits for a look that goes on

    void wake();  // cheap while it is awake

private:
    void run();

    const std::function<bool()> look_;
    std::mutex                  mutex_;  // guards what is below
    std::condition_variable     changed_;
    bool                        awake_ = false, ended_ = false;
    std::thread                 thread_;
};

}  // namespace moescope::recorder
