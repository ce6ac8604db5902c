// The life of the recorder inside its host: sets a tap up at the host's first use of ggml when the environment asks for
// one, and closes it when the host exits. Whatever goes wrong ends the recording, never the host.

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
#include "recorder/environment.hpp"
#include "recorder/injected/outputs.hpp"
#include "recorder/injected/settings.hpp"
#include "trace/csv_log.hpp"

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

class recorder {
public:
    recorder(settings s, capturing::ggml_api api) : settings_(std::move(s)) {
        tap_ = std::make_unique<capturing::tap>(api, settings_.capture, [this](uint32_t stream, const model_info &) {
            return open(stream);
        });
        if (!capturing::known_ggml_version(api.ggml_version())) {
            note_ = std::string("ggml ") + api.ggml_version() + " is not a version that moescope was tested with; its self-test decides";
            print_stderr("moescope: " + note_ + "\n");
        }
    }

    capturing::tap & tap() { return *tap_; }

    void finish() {
        if (!tap_->close_all()) {
            return;   // exit() out of a signal handler that interrupted us: what is written reads
        }
        const std::string why = tap_->failure();
        if (!why.empty()) {
            stopped(why);
        }
        status(environment::status_graphs, tap_->saw_moe() ? "moe" : tap_->saw_graph() ? "dense" : "none");
    }

private:
    std::unique_ptr<routing_sink> open(uint32_t stream) {
        auto all        = std::make_unique<fan_out>();
        all->on_failure = [this](const std::string & why) { stopped(why); };
        const auto add  = [&](auto make) {
            try {
                all->add(make());
            } catch (const std::exception & e) {
                stopped(e.what());
            }
        };
        if (!settings_.trace_path.empty()) {
            add([&] {
                auto t = std::make_unique<trace_output>(settings_, stream, [this] { return tap_->capture_ns(); },
                                                        [this](const std::string & why) { stopped(why); });
                status(environment::status_trace, t->path());
                return t;
            });
        }
        if (!settings_.csv_path.empty()) {
            add([&] {
                return std::make_unique<trace::csv_log>(
                    trace::open_file_sink(numbered(settings_.csv_path, stream), trace::existing_file::replace));
            });
        }
        if (settings_.stats || settings_.names) {
            add([&] { return std::make_unique<expert_trace>(settings_, stream); });
        }
        if (!note_.empty()) {
            all->note(note_);
        }
        return all->empty() ? nullptr : std::move(all);
    }

    void stopped(const std::string & why) {
        const std::lock_guard lock(mutex_);
        if (!said_.empty()) {
            return;   // one line is enough
        }
        said_ = why;
        print_stderr("moescope: recording stopped: " + why + "\n");
        status(environment::status_stopped, why);
    }

    void status(const char * word, const std::string & rest) const { write_status(settings_.status_path, word, rest); }

    settings                        settings_;
    std::unique_ptr<capturing::tap> tap_;
    std::string                     note_, said_;
    std::mutex                      mutex_;
};

recorder * the_recorder = nullptr;   // never destroyed: hooks may be called until the very end of the process
pid_t      owner        = 0;         // a forked child shares our files and must leave them alone

void at_exit() {
    if (the_recorder != nullptr && ::getpid() == owner) {
        the_recorder->finish();
    }
}

void in_forked_child() {
    capturing::tap::activate(nullptr);
}

void set_up(void * caller) noexcept {
    try {
        settings s = read_settings();
        if (!s.on()) {
            return;
        }
        capturing::ggml_api api;
        std::string         missing;
        if (!api.resolve(caller, missing)) {
            const std::string why = "this program's llama.cpp has no function " + missing;
            print_stderr("moescope: not recording: " + why + "\n");
            write_status(s.status_path, environment::status_stopped, why);
            return;
        }
        owner        = ::getpid();
        the_recorder = new recorder(std::move(s), api);
        std::atexit(at_exit);
        ::pthread_atfork(nullptr, nullptr, in_forked_child);
        capturing::tap::activate(&the_recorder->tap());
    } catch (const std::exception & e) {
        print_stderr(std::string("moescope: not recording: ") + e.what() + "\n");
    }
}

}  // namespace

}  // namespace moescope::recorder

namespace moescope::capturing {

void on_first_call(void * caller) noexcept {
    static std::atomic<bool> done{false};
    if (done.load(std::memory_order_acquire)) {
        return;
    }
    static std::mutex           mutex;
    const std::unique_lock lock(mutex, std::try_to_lock);   // re-entered, or another thread is at it: later
    if (lock.owns_lock() && !done) {
        recorder::set_up(caller);
        done.store(true, std::memory_order_release);
    }
}

bool batch_layout_is_known() noexcept {
    // llama_batch has had its seven members since before llama_model_get_vocab came (January 2025); what is older is not
    // looked into. Within that, batch_replay attributes nothing that does not reproduce the graph's own tokens.
    const tap * t = tap::active();
    return t != nullptr && t->api().llama_model_get_vocab != nullptr;
}

}  // namespace moescope::capturing
