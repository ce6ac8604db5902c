#include "recorder/launch/program.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include <sys/stat.h>
#include <unistd.h>

#include "core/error.hpp"
#include "recorder/environment.hpp"
#include "recorder/launch/elf_file.hpp"

namespace moescope::recorder {

namespace {

bool is_executable_file(const std::string & path) {
    struct stat st = {};
    return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

std::string find_in_path(const std::string & name) {
    if (name.find('/') != std::string::npos) {
        if (::access(name.c_str(), F_OK) != 0) {
            throw error("no such program").in(name);
        }
        if (!is_executable_file(name)) {
            throw error("not an executable file").in(name);
        }
        return name;
    }
    const char *       path = std::getenv("PATH");
    std::istringstream folders(path ? path : "/usr/local/bin:/usr/bin:/bin");
    for (std::string folder; std::getline(folders, folder, ':');) {
        const std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
        if (is_executable_file(candidate)) {
            return candidate;
        }
    }
    throw error("no such program in PATH").in(name).fix("give its path");
}

// "#!/usr/bin/env -S python3 -u" -> the interpreter that will really run; empty when the file is not a script.
std::string interpreter_of(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    std::string   line;
    std::getline(file, line);
    if (line.compare(0, 2, "#!") != 0) {
        return {};
    }
    std::istringstream words(line.substr(2));
    std::string        word;
    words >> word;
    const bool is_env = word.size() >= 4 && word.compare(word.size() - 4, 4, "/env") == 0;
    while (is_env && words >> word && (word[0] == '-' || word.find('=') != std::string::npos)) {
    }
    return word;
}

void refuse_setuid(const std::string & path) {
    struct stat st = {};
    if (::stat(path.c_str(), &st) == 0 && (st.st_mode & (S_ISUID | S_ISGID)) != 0 &&
        (st.st_uid != ::getuid() || st.st_gid != ::getgid())) {
        throw error("runs with another user's rights (setuid), so the system loads no recorder into it")
            .in(path)
            .fix("record a copy without the setuid bit");
    }
}

void check_elf(const std::string & path) {
    const elf_file elf(path);
    if (!elf.for_this_machine()) {
        throw error("was built for another kind of machine (" + elf.machine_name() + ") than this moescope")
            .in(path)
            .fix("use a moescope built for it");
    }
    if (!elf.is_dynamic()) {
        throw error("is statically linked, so no recorder can be loaded into it")
            .in(path)
            .fix("build it with shared libraries (-DBUILD_SHARED_LIBS=ON), or embed moescope.h");
    }
    if (elf.interpreter().find("ld-musl") != std::string::npos) {
        throw error("is built for musl, and the recorder needs glibc")
            .in(path)
            .fix("use a build of it for glibc, or 'moescope run' on the same model");
    }
    if (elf.defines("llama_decode") || elf.defines("ggml_backend_sched_graph_compute_async")) {
        throw error("has llama.cpp linked in statically, so its calls cannot be seen from outside")
            .in(path)
            .fix("build it with -DBUILD_SHARED_LIBS=ON, embed moescope.h, or use 'moescope run' on the same model");
    }
}

std::string recorder_beside_tool() {
    if (const char * given = std::getenv(environment::recorder_library); given != nullptr && *given != '\0') {
        if (::access(given, R_OK) != 0) {
            throw error(std::string("cannot read the recorder: ") + std::strerror(errno))
                .in(given)
                .fix("check MOESCOPE_RECORDER");
        }
        return given;
    }
    char              self[4096];
    const ssize_t     n = ::readlink("/proc/self/exe", self, sizeof(self));
    const std::string exe(self, n > 0 ? static_cast<size_t>(n) : 0);
    const std::string folder = exe.substr(0, exe.rfind('/'));
    for (const char * where : {"/../lib/libmoescope-record.so", "/libmoescope-record.so"}) {
        const std::string path = folder + where;
        if (char * real = ::realpath(path.c_str(), nullptr)) {
            const std::string found = real;
            std::free(real);
            return found;
        }
    }
    throw error("libmoescope-record.so is not next to this program")
        .in(folder)
        .fix("install all of moescope, or set MOESCOPE_RECORDER");
}

// LD_PRELOAD is a list: blanks and colons end a name, and the dynamic linker would only warn.
std::string preloadable(const std::string & path) {
    if (path.find_first_of(" :") != std::string::npos) {
        throw error("LD_PRELOAD cannot name a library whose path has a blank or a colon")
            .in(path)
            .fix("move moescope, or let MOESCOPE_RECORDER name a link to it");
    }
    return path;
}

}  // namespace

program check_program(const std::string & name) {
    program p;
    p.path = find_in_path(name);
    for (int depth = 0; depth < 4; ++depth) {
        refuse_setuid(p.path);
        const std::string interpreter = interpreter_of(p.path);
        if (interpreter.empty()) {
            check_elf(p.path);
            return p;
        }
        p.script = p.script.empty() ? p.path : p.script;
        p.path   = find_in_path(interpreter);
    }
    throw error("scripts are nested too deeply").in(name).fix("start its interpreter yourself");
}

std::string find_recorder_library() {
    return preloadable(recorder_beside_tool());
}

}  // namespace moescope::recorder
