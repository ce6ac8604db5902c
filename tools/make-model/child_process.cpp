#include "make-model/child_process.hpp"

#include "core/error.hpp"
#include "llama.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace moescope::make_model {
namespace {

struct pipe_pair {
    int ends[2] = {-1, -1};
    pipe_pair() {
        if (pipe(ends) != 0) {
            throw error(std::string("no pipe: ") + std::strerror(errno));
        }
    }
    ~pipe_pair() {
        close_end(0);
        close_end(1);
    }
    void close_end(int i) {
        if (ends[i] >= 0) {
            close(ends[i]);
            ends[i] = -1;
        }
    }
};

void write_all(int fd, const char * data, size_t size) {
    while (size > 0) {
        const ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            _exit(3);
        }
        data += n;
        size -= static_cast<size_t>(n);
    }
}

// llama.cpp's error lines go to stderr, which the parent reads; the rest of its log goes nowhere.
void log_errors_only(ggml_log_level level, const char * text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR) {
        write_all(STDERR_FILENO, text, std::strlen(text));
    }
}

void be_quiet(int err) {
    dup2(err, STDERR_FILENO);
    setenv("GGML_NO_BACKTRACE", "1", 1);
    signal(SIGABRT, SIG_DFL);
}

[[noreturn]] void child_main(int out, int err, const std::function<void(const send_fn &)> & work) {
    be_quiet(err);
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    llama_log_set(log_errors_only, nullptr);
    try {
        work([out](const std::string & text) { write_all(out, text.data(), text.size()); });
    } catch (const std::exception & failure) {
        write_all(STDERR_FILENO, failure.what(), std::strlen(failure.what()));
        _exit(1);
    }
    _exit(0);
}

[[noreturn]] void child_program(int out, int err, const std::string & program, const std::string & argument) {
    be_quiet(err);
    dup2(out, STDOUT_FILENO);
    execl(program.c_str(), program.c_str(), argument.c_str(), nullptr);
    const std::string failure = "cannot start " + program + ": " + std::strerror(errno);
    write_all(STDERR_FILENO, failure.data(), failure.size());
    _exit(1);
}

// Reads both pipes until the child has closed them.
void drain(int out, int err, child_result & result) {
    pollfd fds[2] = {{out, POLLIN, 0}, {err, POLLIN, 0}};
    char   buffer[4096];
    for (int open_ends = 2; open_ends > 0;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            return;
        }
        for (int i = 0; i < 2; i++) {
            if (fds[i].fd < 0 || fds[i].revents == 0) {
                continue;
            }
            const ssize_t n = read(fds[i].fd, buffer, sizeof buffer);
            if (n > 0) {
                (i == 0 ? result.output : result.error).append(buffer, static_cast<size_t>(n));
            } else if (n == 0 || errno != EINTR) {
                fds[i].fd = -1;
                open_ends--;
            }
        }
    }
}

std::string trimmed(std::string text) {
    const size_t last = text.find_last_not_of(" \n\r\t");
    return text.substr(0, last == std::string::npos ? 0 : last + 1);
}

// Forks; `run` is the child, with the pipes that it writes to, and does not return.
child_result collect(const std::function<void(int out, int err)> & run) {
    pipe_pair   out, err;
    const pid_t child = fork();
    if (child < 0) {
        throw error(std::string("no child process: ") + std::strerror(errno));
    }
    if (child == 0) {
        run(out.ends[1], err.ends[1]);
    }
    out.close_end(1);
    err.close_end(1);
    child_result result;
    drain(out.ends[0], err.ends[0], result);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    result.error = trimmed(result.error);
    if (WIFSIGNALED(status) && result.error.empty()) {
        result.error = std::string("llama.cpp ended by signal: ") + strsignal(WTERMSIG(status));
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        result.error.clear();
    }
    return result;
}

}  // namespace

child_result run_in_child(const std::function<void(const send_fn &)> & work) {
    return collect([&](int out, int err) { child_main(out, err, work); });
}

child_result run_program(const std::string & program, const std::string & argument) {
    return collect([&](int out, int err) { child_program(out, err, program, argument); });
}

}  // namespace moescope::make_model
