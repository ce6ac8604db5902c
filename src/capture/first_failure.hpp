#pragma once

#include <mutex>
#include <string>

namespace moescope::capture {

// Why not everything is recorded: the first reason stays, what follows from it is not worth telling. For any thread.
class first_failure {
public:
    void add(const std::string & why) {  // "": nothing is wrong
        if (!why.empty()) {
            const std::lock_guard lock(mutex_);
            text_ = text_.empty() ? why : text_;
        }
    }
    std::string text() const {  // "" when all is well
        const std::lock_guard lock(mutex_);
        return text_;
    }

private:
    mutable std::mutex mutex_;
    std::string        text_;
};

}  // namespace moescope::capture
