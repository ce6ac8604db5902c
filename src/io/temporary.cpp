#include "io/temporary.hpp"

#include <cstdlib>
#include <memory>

#include <fcntl.h>
#include <sys/stat.h>

namespace moescope::io {

namespace {

mode_t new_file_mode(mode_t mode) {
    const mode_t mask = ::umask(0);
    ::umask(mask);
    return mode & ~mask;
}

}  // namespace

std::string behind_links(const std::string & path) {
    struct release {
        void operator()(char * p) const { std::free(p); }
    };
    const std::unique_ptr<char, release> real(::realpath(path.c_str(), nullptr));
    struct stat                          s = {};
    return real && ::lstat(path.c_str(), &s) == 0 && S_ISLNK(s.st_mode) ? real.get() : path;
}

int make_temporary_file(std::string & name) {
    const int fd = ::mkostemp(name.data(), O_CLOEXEC);
    if (fd >= 0) {
        ::fchmod(fd, new_file_mode(0666));
    }
    return fd;
}

bool make_temporary_folder(std::string & name) {
    return ::mkdtemp(name.data()) != nullptr && ::chmod(name.c_str(), new_file_mode(0777)) == 0;
}

}  // namespace moescope::io
