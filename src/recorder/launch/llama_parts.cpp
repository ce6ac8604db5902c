#include "recorder/launch/llama_parts.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.hpp"
#include "recorder/launch/elf_file.hpp"
#include "recorder/launch/program.hpp"

namespace moescope::recorder {

namespace {

namespace fs = std::filesystem;

constexpr int    childs_output = 1;  // its descriptor
constexpr int    answer_ms     = 10000;
constexpr size_t max_entries   = 50000;  // of a package folder that are looked at
constexpr int    max_depth     = 8;

// What a forked child writes to its output. It is killed when it runs on, since a library's constructors and another
// dynamic linker are strangers. `child` ends the process.
template <class F>
std::string output_of_child(F child) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        return {};
    }
    const pid_t pid = ::fork();
    if (pid == 0) {
        const int nowhere = ::open("/dev/null", O_RDWR);
        ::dup2(nowhere, 0);
        ::dup2(ends[1], childs_output);
        ::dup2(nowhere, 2);
        child();
        ::_exit(1);
    }
    ::close(ends[1]);
    std::string said;
    char        bytes[4096];
    for (pollfd readable = {ends[0], POLLIN, 0}; pid > 0 && ::poll(&readable, 1, answer_ms) > 0;) {
        const ssize_t n = ::read(ends[0], bytes, sizeof(bytes));
        if (n <= 0) {
            break;
        }
        said.append(bytes, static_cast<size_t>(n));
    }
    ::close(ends[0]);
    if (pid > 0) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
    }
    return said;
}

std::string ask_ggml_version(const std::string & library) {
    return output_of_child([&] {
        void *     handle = ::dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
        const auto version =
            handle == nullptr ? nullptr : reinterpret_cast<const char * (*)()>(::dlsym(handle, "ggml_version"));
        if (version != nullptr) {
            const std::string text = version();
            if (::write(childs_output, text.data(), text.size()) < 0) {
                ::_exit(1);
            }
        }
        ::_exit(0);
    });
}

// Adds the file where it has llama.cpp in it. What is no library is passed over.
void look_into(const std::string & path, std::vector<llama_part> & parts) {
    try {
        const elf_file elf(path);
        if (!elf.for_this_machine()) {
            return;
        }
        llama_part part = {path, elf.defines("llama_decode"), elf.defines("ggml_backend_sched_graph_compute_async"),
                           ""};
        if (part.has_ggml) {
            part.ggml_version = ask_ggml_version(path);
        }
        if (part.has_llama || part.has_ggml) {
            parts.push_back(part);
        }
    } catch (const error &) {
        return;
    }
}

// libllama.so.0, libggml-base.so; a Node addon may hold all of llama.cpp in one file.
bool may_hold_llama(const fs::path & file) {
    const std::string name       = file.filename();
    const bool        is_library = name.find(".so") != std::string::npos || file.extension() == ".node";
    return is_library && (name.find("llama") != std::string::npos || name.find("ggml") != std::string::npos ||
                          file.extension() == ".node");
}

void look_below(const fs::path & folder, std::vector<llama_part> & parts) {
    std::set<fs::path> seen;
    size_t             n_entries = 0;
    std::error_code    ignored;
    for (fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, ignored), end;
         it != end && n_entries < max_entries; it.increment(ignored), ++n_entries) {
        if (it.depth() >= max_depth) {
            it.disable_recursion_pending();
        }
        if (it->is_regular_file(ignored) && may_hold_llama(it->path()) &&
            seen.insert(fs::canonical(it->path(), ignored)).second) {
            look_into(it->path(), parts);
        }
    }
}

// node_modules beside the file or above it, as Node looks for packages.
std::vector<fs::path> node_folders(const std::string & file) {
    std::vector<fs::path> folders;
    std::error_code       ignored;
    for (fs::path at = fs::absolute(file).parent_path();; at = at.parent_path()) {
        if (fs::is_directory(at / "node_modules", ignored)) {
            folders.push_back(at / "node_modules");
        }
        if (at == at.root_path()) {
            return folders;
        }
    }
}

// …/lib/python3.11/site-packages/llama_cpp for …/bin/python3, in a virtual environment or the system's.
std::vector<fs::path> python_folders(const std::string & program) {
    std::vector<fs::path> folders;
    std::error_code       ignored;
    const fs::path        prefix = fs::absolute(program).parent_path().parent_path();
    for (const char * lib : {"lib", "local/lib"}) {
        for (const auto & python : fs::directory_iterator(prefix / lib, ignored)) {
            for (const char * packages : {"site-packages", "dist-packages"}) {
                const fs::path folder = python.path() / packages / "llama_cpp";
                if (python.path().filename().string().rfind("python", 0) == 0 && fs::is_directory(folder, ignored)) {
                    folders.push_back(folder);
                }
            }
        }
    }
    return folders;
}

}  // namespace

linked_libraries ask_linker(const std::string & program) {
    const std::string          said = output_of_child([&] {
        ::setenv("LD_TRACE_LOADED_OBJECTS", "1", 1);
        ::unsetenv("LD_PRELOAD");
        ::execl(program.c_str(), program.c_str(), nullptr);
    });
    static const std::regex    loaded("=> (/[^\n]*) \\(0x"), not_found("([^\\s]+) => not found");
    linked_libraries           linked;
    const std::sregex_iterator end;
    for (std::sregex_iterator it(said.begin(), said.end(), loaded); it != end; ++it) {
        look_into((*it)[1], linked.parts);
    }
    for (std::sregex_iterator it(said.begin(), said.end(), not_found); it != end; ++it) {
        linked.missing.push_back((*it)[1]);
    }
    return linked;
}

std::vector<llama_part> parts_nearby(const std::vector<std::string> & command, const std::string & program) {
    std::vector<fs::path> folders = python_folders(program);
    std::error_code       ignored;
    for (const std::string & word : command) {
        if (fs::is_regular_file(word, ignored)) {
            for (const fs::path & folder : node_folders(word)) {
                folders.push_back(folder);
            }
        }
    }
    std::sort(folders.begin(), folders.end());
    folders.erase(std::unique(folders.begin(), folders.end()), folders.end());
    std::vector<llama_part> parts;
    for (const fs::path & folder : folders) {
        look_below(folder, parts);
    }
    return parts;
}

std::vector<std::string> programs_named_in(const std::string & script) {
    std::ifstream      file(script);
    std::ostringstream text;
    text << file.rdbuf();
    const std::string        all = text.str();
    static const std::regex  word("[A-Za-z0-9_./~+-]+");
    std::set<std::string>    tried;
    std::vector<std::string> found;
    for (std::sregex_iterator it(all.begin(), all.end(), word), end; it != end && tried.size() < 2000; ++it) {
        const std::string name = it->str();
        if (name.find_first_not_of("./") == std::string::npos || !tried.insert(name).second) {
            continue;
        }
        try {
            const program p = check_program(name);
            if (p.script.empty() && !ask_linker(p.path).parts.empty()) {
                found.push_back(p.path);
            }
        } catch (const error &) {
            continue;  // a word like any other
        }
    }
    return found;
}

}  // namespace moescope::recorder
