#include "recorder/launch/launch.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.hpp"
#include "recorder/environment.hpp"
#include "recorder/launch/program.hpp"

namespace moescope::recorder {

namespace {

// The program that signals go to; there is one launch at a time, and handlers reach nothing else.
volatile pid_t the_child = 0;

constexpr int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};

// A key press on the terminal reaches the whole foreground group, the program included: only what was sent to us alone
// is passed on.
void forward(int signal, siginfo_t * info, void *) {
    const bool sent_by_a_process = info->si_code <= 0;
    if (the_child > 0 && sent_by_a_process) {
        ::kill(the_child, signal);
    }
}

class signals_forwarded {
public:
    signals_forwarded() {
        struct sigaction action = {};
        action.sa_sigaction     = forward;
        action.sa_flags         = SA_SIGINFO | SA_RESTART;
        for (size_t i = 0; i < std::size(forwarded); ++i) {
            ::sigaction(forwarded[i], &action, &before_[i]);
        }
    }
    ~signals_forwarded() {
        for (size_t i = 0; i < std::size(forwarded); ++i) {
            ::sigaction(forwarded[i], &before_[i], nullptr);
        }
    }
    signals_forwarded(const signals_forwarded &)             = delete;
    signals_forwarded & operator=(const signals_forwarded &) = delete;

private:
    struct sigaction before_[std::size(forwarded)] = {};
};

graphs_seen parse_graphs(const std::string & word) {
    namespace env = environment;
    return word == env::graphs_moe      ? graphs_seen::moe
           : word == env::graphs_others ? graphs_seen::others
           : word == env::graphs_dense  ? graphs_seen::dense
           : word == env::graphs_none   ? graphs_seen::none
                                        : graphs_seen::nothing_known;
}

// The file through which the recorder tells what it does; removed with this object.
class status_file {
public:
    status_file() {
        const char * folder = std::getenv("TMPDIR");
        path_        = std::string(folder != nullptr && *folder != '\0' ? folder : "/tmp") + "/moescope-status.XXXXXX";
        const int fd = ::mkostemp(path_.data(), O_CLOEXEC);
        if (fd < 0) {
            path_.clear();  // then only the summary knows less
            return;
        }
        ::close(fd);
    }
    ~status_file() {
        if (!path_.empty()) {
            ::unlink(path_.c_str());
        }
    }
    status_file(const status_file &)             = delete;
    status_file & operator=(const status_file &) = delete;

    const std::string & path() const { return path_; }

    void read(launch_result & r) const {
        namespace env = environment;
        r.traces.clear();
        std::ifstream file(path_);
        for (std::string line; std::getline(file, line);) {
            const size_t      blank = line.find(' ');
            const std::string word  = line.substr(0, blank);
            const std::string rest  = blank == std::string::npos ? std::string() : line.substr(blank + 1);
            if (word == env::status_trace) {
                r.traces.push_back(rest);
            } else if (word == env::status_stopped) {
                r.stopped = rest;
            } else if (word == env::status_unmasked) {
                r.unmasked = rest;
            } else if (word == env::status_graphs) {
                r.graphs = parse_graphs(rest);
            }
        }
    }

private:
    std::string path_;
};

// By the names that GCC and clang give them: libasan.so.8, libclang_rt.asan-x86_64.so.
bool is_sanitizer_runtime(const std::string & path) {
    static const std::regex runtime("lib(clang_rt\\.)?(a|hwa|l|m|t|ub)san[-._].*");
    return std::regex_match(path.substr(path.rfind('/') + 1), runtime);
}

// What LD_PRELOAD is to be: the recorder in front of what is there, as its functions must be found first. Only the runtime of a
// sanitizer stays in front of it, because it ends the program where it is not the first library of all.
std::string preload_list(const std::string & there, const std::string & recorder) {
    static const std::regex    name("[^ :]+");
    const std::sregex_iterator end;
    std::string                first, rest;
    for (std::sregex_iterator it(there.begin(), there.end(), name); it != end; ++it) {
        is_sanitizer_runtime(it->str()) ? first += it->str() + ":" : rest += ":" + it->str();
    }
    return first + recorder + rest;
}

// Our environment with the recorder's variables in it.
class child_environment {
public:
    child_environment(const launch_options & o, const std::string & library, const std::string & status) {
        for (char ** e = environ; *e != nullptr; ++e) {
            entries_.emplace_back(*e);
        }
        namespace env        = environment;
        const char * preload = std::getenv("LD_PRELOAD");
        set("LD_PRELOAD", preload_list(preload != nullptr ? preload : "", library));
        set(env::output, o.nop ? "" : o.trace_path);
        set(env::capture, o.capture ? to_string(*o.capture) : "");
        set(env::layers, o.layers);
        set(env::no_text, o.no_text ? "1" : "");
        set(env::no_tokens, o.no_tokens ? "1" : "");
        set(env::mask, o.mask.to_text());
        set(env::counts_only, o.counts_only ? "1" : "");
        set(env::half_precision, o.f16 ? "1" : "");
        set(env::max_size, o.max_size > 0 ? std::to_string(o.max_size) : "");
        set(env::nop, o.nop ? "1" : "");
        set(env::only_child_of, std::to_string(::getpid()));
        set(env::follow, o.follow ? "1" : "");
        set(env::status, status);
        for (std::string & e : entries_) {
            pointers_.push_back(e.data());
        }
        pointers_.push_back(nullptr);
    }
    char ** get() { return pointers_.data(); }

private:
    void set(const std::string & name, const std::string & value) {
        entries_.erase(
            std::remove_if(entries_.begin(), entries_.end(),
                           [&](const std::string & e) { return e.compare(0, name.size() + 1, name + "=") == 0; }),
            entries_.end());
        if (!value.empty()) {
            entries_.push_back(name + "=" + value);
        }
    }

    std::vector<std::string> entries_;
    std::vector<char *>      pointers_;
};

pid_t start(const launch_options & o, const std::string & library, const std::string & status) {
    std::vector<char *> argv;
    for (const std::string & word : o.command) {
        argv.push_back(const_cast<char *>(word.c_str()));
    }
    argv.push_back(nullptr);
    child_environment env(o, library, status);
    pid_t             child = 0;
    // Signals that we handle start out as their default in the program: exec sees to that.
    const int why = ::posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), env.get());
    if (why != 0) {
        throw error(std::string("cannot start: ") + std::strerror(why)).in(o.command[0]);
    }
    return child;
}

// Wakes at once when a process ends, where the kernel can tell (Linux 5.3).
class process_end {
public:
    explicit process_end(pid_t pid) : fd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}
    ~process_end() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    process_end(const process_end &)             = delete;
    process_end & operator=(const process_end &) = delete;

    void wait(int at_most_ms) const {
        pollfd ended = {fd_, POLLIN, 0};  // poll only sleeps where fd_ is -1
        ::poll(&ended, 1, at_most_ms);
    }

private:
    int fd_;
};

}  // namespace

launch_result launch(const launch_options & o, const launch_tick & tick) {
    check_program(o.command.at(0));
    constexpr size_t longest_mask = 120'000;  // Linux takes 128 KiB of one variable
    if (o.mask.to_text().size() > longest_mask) {
        throw error("the mask is too long to hand it on to a program")
            .fix("experts in ranges, such as 5:0-63, take less");
    }
    const std::string library = find_recorder_library();
    const status_file status;

    const signals_forwarded forwarding;
    const pid_t             child = start(o, library, status.path());
    the_child                     = child;

    const process_end ending(child);
    launch_result     r;
    int               state = 0;
    for (;;) {
        const pid_t done = ::waitpid(child, &state, tick ? WNOHANG : 0);
        if (done == child || (done < 0 && errno != EINTR)) {
            break;
        }
        if (done == 0) {
            status.read(r);
            tick(r);
            ending.wait(200);
        }
    }
    the_child = 0;
    status.read(r);
    r.signal    = WIFSIGNALED(state) ? WTERMSIG(state) : 0;
    r.exit_code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + r.signal;
    return r;
}

}  // namespace moescope::recorder
