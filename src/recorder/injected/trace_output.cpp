#include "recorder/injected/trace_output.hpp"

#include <system_error>
#include <utility>

#include "core/error.hpp"

namespace moescope::recorder {

namespace {

trace::writer_options make_options(const settings & s) {
    trace::writer_options o;
    o.counts_only = s.counts_only;
    o.tokens      = s.no_tokens ? trace::kept_tokens::nothing
                    : s.no_text ? trace::kept_tokens::ids
                                : trace::kept_tokens::all;
    o.f16         = s.f16;
    o.max_size    = s.max_size;
    o.existing    = io::existing_file::replace_own;  // the host must not stop for a name that is taken
    return o;
}

}  // namespace

trace_output::trace_output(const settings & s, uint32_t stream, std::string mask,
                           std::function<capture::time_spent()> spent, told on_failure)
    : writer_(numbered(s.trace_path, stream),
              trace::trace_head::of_this_process(s.capture.what, stream, std::move(mask)), make_options(s)),
      spent_(std::move(spent)),
      on_failure_(std::move(on_failure)) {
    try {
        watch_ = std::make_unique<idle_watch>([this] { return flush_when_idle(); });
    } catch (const std::system_error &) {
        // No thread to be had: what is not full waits for the next ubatch, or for the end.
    }
}

trace_output::~trace_output() {
    watch_.reset();
    try {
        const capture::time_spent spent = spent_();
        writer_.finish({"the program ended, or freed this context", last_ns_, spent.capture_ns, spent.compute_ns});
    } catch (const std::exception & e) {
        on_failure_(e.what());
    }
}

std::unique_lock<std::mutex> trace_output::lock() {
    std::unique_lock lock(mutex_);
    if (!failure_.empty()) {
        throw error(std::exchange(failure_, {}));
    }
    return lock;
}

void trace_output::model(const model_info & m) {
    const auto locked = lock();
    writer_.model(m);
}

void trace_output::piece(int32_t token, const std::string & text) {
    const auto locked = lock();
    writer_.piece(token, text);
}

uint32_t trace_output::access(const access_list & list) {
    const auto locked = lock();
    return writer_.access(list);
}

void trace_output::ubatch(const routed_ubatch & u) {
    bool waits;
    {
        const auto locked = lock();
        writer_.ubatch(u);
        last_ns_ = u.time_ns;
        n_ubatches_ += 1;
        waits = writer_.pending();
    }
    wake_watch(waits);
}

void trace_output::memory(const memory_event & e) {
    bool waits;
    {
        const auto locked = lock();
        writer_.memory(e);
        waits = writer_.pending();
    }
    wake_watch(waits);
}

void trace_output::wake_watch(bool pending) const {
    if (pending && watch_) {
        watch_->wake();
    }
}

void trace_output::note(const std::string & text) {
    const auto locked = lock();
    writer_.note(text);
}

// The watch's look: whether to look again.
bool trace_output::flush_when_idle() {
    const std::lock_guard locked(mutex_);
    if (!writer_.pending() || !failure_.empty()) {
        return false;
    }
    if (n_seen_ != n_ubatches_) {  // the program computes: the writer flushes by itself
        n_seen_ = n_ubatches_;
        return true;
    }
    try {
        writer_.flush();
    } catch (const std::exception & e) {
        failure_ = e.what();  // said when the next row comes; until then nothing more is lost
    }
    return false;
}

}  // namespace moescope::recorder
