#pragma once

// Programs that tests start: bounded in time, stopped by their process id, output kept in files.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scratch_folder.hpp"

namespace moescope::test {

inline std::string env_or_die(const char * name) {
    const char * value = std::getenv(name);
    if (value == nullptr) {
        throw std::runtime_error(std::string(name) + " is not set: run this test through ctest");
    }
    return value;
}

inline std::string moescope_bin() {
    return env_or_die("MOESCOPE_BIN");
}
inline std::string llama_program(const std::string & name) {
    return env_or_die("LLAMA_CPP_BIN") + "/" + name;
}

// LD_PRELOAD for a program without moescope record: behind what is there already, such as a sanitizer's runtime (tests/sanitized).
inline std::string preloaded(const std::string & library) {
    const char * there = std::getenv("LD_PRELOAD");
    return "LD_PRELOAD=" + (there != nullptr ? std::string(there) + ":" : std::string()) + library;
}

inline std::string read_file(const std::string & path) {
    std::ifstream     file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

class process {
public:
    using variables = std::vector<std::string>;  // "NAME=value", in place of ours of that name

    process(std::vector<std::string> command, const std::string & out, const std::string & err,
            const variables & extra = {}) {
        std::vector<char *> argv, env;
        for (std::string & word : command) {
            argv.push_back(word.data());
        }
        argv.push_back(nullptr);
        variables all = with_ours(extra);
        for (std::string & e : all) {
            env.push_back(e.data());
        }
        env.push_back(nullptr);
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        const int failed = ::posix_spawnp(&pid_, argv[0], &files, nullptr, argv.data(), env.data());
        posix_spawn_file_actions_destroy(&files);
        if (failed != 0) {
            throw std::runtime_error("cannot start " + command[0]);
        }
    }
    ~process() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }
    process(const process &)             = delete;
    process & operator=(const process &) = delete;

    pid_t pid() const { return pid_; }
    void  signal(int number) const { ::kill(pid_, number); }

    // The exit code, or 128 + signal; kills and throws after the time is up.
    int wait(std::chrono::seconds limit = std::chrono::seconds(300)) {
        const auto end = std::chrono::steady_clock::now() + limit;
        for (;;) {
            int state = 0;
            if (::waitpid(pid_, &state, WNOHANG) == pid_) {
                pid_ = 0;
                return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
            }
            if (std::chrono::steady_clock::now() > end) {
                throw std::runtime_error("the program did not end in time");
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
    }

private:
    static variables with_ours(variables all) {
        const size_t n = all.size();
        for (char ** e = environ; *e != nullptr; ++e) {
            const std::string name(*e, std::strcspn(*e, "=") + 1);
            const bool        replaced = std::any_of(all.begin(), all.begin() + static_cast<long>(n),
                                                     [&](const std::string & v) { return v.rfind(name, 0) == 0; });
            if (!replaced) {
                all.emplace_back(*e);
            }
        }
        return all;
    }

    pid_t pid_ = 0;
};

// Runs to the end and returns the exit code.
inline int run(const std::vector<std::string> & command, const std::string & out, const std::string & err,
               const process::variables & extra = {}) {
    return process(command, out, err, extra).wait();
}

}  // namespace moescope::test
