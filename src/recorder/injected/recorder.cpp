// The life of the recorder inside its host: sets a tap up at the host's first use of each copy of ggml when the environment
// asks for one, and closes them when the host exits. Whatever goes wrong ends the recording, never the host.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "capture/hooks/hooks.hpp"
#include "capture/self_test.hpp"
#include "capture/tap.hpp"
#include "core/fan_out.hpp"
#include "logs/csv_log.hpp"
#include "recorder/environment.hpp"
#include "recorder/injected/expert_trace.hpp"
#include "recorder/injected/print_stderr.hpp"
#include "recorder/injected/settings.hpp"
#include "recorder/injected/trace_output.hpp"

namespace moescope::recorder {

namespace {

// Tells moescope record, where it is there to listen.
void write_status(const std::string & path, const char * word, const std::string & rest) {
    const int fd = path.empty() ? -1 : ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    const std::string line = std::string(word) + " " + rest + "\n";
    if (::write(fd, line.data(), line.size()) < 0) {
        // Only a convenience for moescope record.
    }
    ::close(fd);
}

constexpr size_t max_copies = 16;  // of ggml in one process; of more, the last are not recorded

class recorder {
public:
    explicit recorder(settings s) : settings_(std::move(s)) {}

    // The tap of the copy of ggml that `caller` reaches; null when nothing of it can be recorded.
    capture::tap * add_tap(void * caller) {
        capture::ggml_api api;
        std::string       missing;
        if (!api.resolve(caller, missing)) {
            const std::string why = "this program's llama.cpp has no function " + missing;
            print_stderr("moescope: not recording: " + why + "\n");
            status(environment::status_stopped, why);
            return nullptr;
        }
        std::string note;
        if (!capture::known_ggml_version(api.version())) {
            note = std::string("ggml ") + api.version() +
                   " is not a version that moescope was tested with; its self-test decides";
            print_stderr("moescope: " + note + "\n");
        }
        std::unique_ptr<capture::tap> & t = taps_.at(n_taps_);
        capture::tap::open_sink         open_stream;
        if (settings_.records()) {
            open_stream = [this, &t, note] { return open(*t, note); };
        }
        t              = std::make_unique<capture::tap>(api, settings_.capture, open_stream);
        t->on_unmasked = [this](const std::string & why) { unmasked(why); };
        n_taps_ += 1;
        return t.get();
    }

    void finish() {
        bool saw_moe = false, saw_graph = false, saw_others = false;
        for (size_t i = 0; i < n_taps_; ++i) {
            capture::tap & t = *taps_[i];
            if (!t.close_all()) {
                return;  // exit() out of a signal handler that interrupted us: what is written reads
            }
            if (const std::string why = t.failure(); !why.empty()) {
                stopped(why);
            }
            saw_moe    = saw_moe || t.saw_moe();
            saw_graph  = saw_graph || t.saw_graph();
            saw_others = saw_others || t.saw_others();
        }
        status(environment::status_graphs, saw_moe      ? environment::graphs_moe
                                           : saw_others ? environment::graphs_others
                                           : saw_graph  ? environment::graphs_dense
                                                        : environment::graphs_none);
    }

private:
    std::unique_ptr<routing_sink> open(const capture::tap & t, const std::string & note) {
        const uint32_t stream = ++n_streams_;
        auto           all    = std::make_unique<fan_out>();
        all->on_failure       = [this](const std::string & why) { stopped(why); };
        const auto add        = [&](auto make) {
            try {
                all->add(make());
            } catch (const std::exception & e) {
                stopped(e.what());
            }
        };
        if (!settings_.trace_path.empty()) {
            add([&] {
                const std::string unmasked = t.unmasked();
                auto              trace    = std::make_unique<trace_output>(
                    settings_, stream, unmasked.empty() ? settings_.capture.mask.to_text() : "",
                    [&t] { return t.spent(); }, [this](const std::string & why) { stopped(why); });
                status(environment::status_trace, trace->path());
                if (!unmasked.empty()) {
                    trace->note("not masked, as was asked for: " + unmasked);
                }
                return trace;
            });
        }
        if (!settings_.csv_path.empty()) {
            add([&] {
                return std::make_unique<logs::csv_log>(io::open_file_sink(
                    numbered(settings_.csv_path, stream), io::existing_file::replace_own, logs::csv_log_file));
            });
        }
        if (settings_.stats || settings_.names) {
            add([&] { return std::make_unique<expert_trace>(settings_, stream); });
        }
        if (!note.empty()) {
            all->note(note);
        }
        return all->empty() ? nullptr : std::move(all);
    }

    void stopped(const std::string & why) {
        const std::lock_guard lock(mutex_);
        if (!said_.empty()) {
            return;  // one line is enough
        }
        said_ = why;
        print_stderr("moescope: recording stopped: " + why + "\n");
        status(environment::status_stopped, why);
    }

    void unmasked(const std::string & why) {
        const std::lock_guard lock(mutex_);
        if (said_unmasked_) {
            return;
        }
        said_unmasked_ = true;
        print_stderr("moescope: not masked: " + why + "\n");
        status(environment::status_unmasked, why);
    }

    void status(const char * word, const std::string & rest) const { write_status(settings_.status_path, word, rest); }

    const settings                                        settings_;
    std::array<std::unique_ptr<capture::tap>, max_copies> taps_;  // the first n_taps_
    size_t                                                n_taps_ = 0;
    std::atomic<uint32_t>                                 n_streams_{0};
    std::mutex                                            mutex_;  // guards what was said
    std::string                                           said_;
    bool                                                  said_unmasked_ = false;
};

// Which tap belongs to which copy of ggml. Hooks read this without a lock, so it is only appended to.
struct recorded_copy {
    const void *   copy = nullptr;
    capture::tap * t    = nullptr;  // null: this copy is not recorded
};
std::array<recorded_copy, max_copies> copies;
std::atomic<size_t>                   n_copies{0};
std::atomic<bool>                     off{false};  // the environment asks for nothing, or this is a forked child

std::mutex setting_up;              // a copy's tap; guards what is below
recorder * the_recorder = nullptr;  // never destroyed: hooks may be called until the very end of the process
pid_t      owner        = 0;        // a forked child shares our files and must leave them alone

void at_exit() {
    // Not to be had where a signal handler calls exit() in the middle of setting up: what is written reads.
    const std::unique_lock lock(setting_up, std::try_to_lock);
    if (lock.owns_lock() && the_recorder != nullptr && ::getpid() == owner) {
        the_recorder->finish();
    }
}

void in_forked_child() {
    off = true;
}

// Makes the recorder; null when the environment asks for none.
recorder * make_recorder() {
    settings s = read_settings();
    if (!s.on()) {
        off = true;
        return nullptr;
    }
    if (!s.capture.mask.empty() && s.status_path.empty()) {  // else moescope record has said it
        print_stderr("moescope: masked (" + s.capture.mask.to_text() + "): the output is not the model's own\n");
    }
    auto * r = new recorder(std::move(s));
    owner    = ::getpid();
    std::atexit(at_exit);
    ::pthread_atfork(nullptr, nullptr, in_forked_child);
    return r;
}

capture::tap * set_up(void * caller) noexcept {
    try {
        if (the_recorder == nullptr) {
            the_recorder = make_recorder();
        }
        return the_recorder == nullptr ? nullptr : the_recorder->add_tap(caller);
    } catch (const std::exception & e) {
        print_stderr(std::string("moescope: not recording: ") + e.what() + "\n");
        off = the_recorder == nullptr;
        return nullptr;
    }
}

const recorded_copy * find(const void * copy) {
    const size_t n   = n_copies.load(std::memory_order_acquire);
    const auto   end = copies.begin() + n;
    const auto   it  = std::find_if(copies.begin(), end, [copy](const recorded_copy & c) { return c.copy == copy; });
    return it == end ? nullptr : &*it;
}

}  // namespace

}  // namespace moescope::recorder

namespace moescope::capture {

tap * tap_of(const void * copy, void * caller) noexcept {
    using namespace recorder;
    if (off.load(std::memory_order_acquire)) {
        return nullptr;
    }
    if (const recorded_copy * known = find(copy)) {
        return known->t;
    }
    const std::unique_lock lock(setting_up, std::try_to_lock);  // re-entered, or another thread is at it: later
    if (!lock.owns_lock() || copy == nullptr || find(copy) != nullptr || n_copies == max_copies) {
        return nullptr;
    }
    copies[n_copies] = {copy, set_up(caller)};
    n_copies.fetch_add(1, std::memory_order_release);
    return copies[n_copies - 1].t;
}

}  // namespace moescope::capture
