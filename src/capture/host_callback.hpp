#pragma once

#include "capture/ggml_api.hpp"

namespace moescope::capture {

// A program's own eval callback, called through here. One that returns false stops the graph in the middle; ggml reports
// success all the same, and the tensors behind that still hold what an earlier graph left there.
// Must live as long as the scheduler that it was given to.
class host_callback {
public:
    // Puts itself between the scheduler and the program's callback, whichever that is from now on.
    void wrap(ggml_backend_sched_eval_callback & callback, void *& user_data) {
        callback_  = callback;
        user_data_ = user_data;
        callback   = call;
        user_data  = this;
    }

    void begin_graph() { stopped_ = false; }
    bool stopped() const { return stopped_; }  // since begin_graph()

private:
    static bool call(ggml_tensor * t, bool ask, void * self) {
        auto &     h    = *static_cast<host_callback *>(self);
        const bool more = h.callback_(t, ask, h.user_data_);
        h.stopped_      = h.stopped_ || (!ask && !more);
        return more;
    }

    ggml_backend_sched_eval_callback callback_  = nullptr;
    void *                           user_data_ = nullptr;
    bool                             stopped_   = false;
};

}  // namespace moescope::capture
