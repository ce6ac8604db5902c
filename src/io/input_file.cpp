#include "io/input_file.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.hpp"

namespace moescope::io {

error cannot_open(const std::string & path) {
    const int why = errno;
    error     e(std::string("cannot open: ") + std::strerror(why));
    return e.in(path).fix(why == ENOENT || why == ENOTDIR ? "check the name"
                          : why == EACCES                 ? "its permissions do not let you read it"
                                                          : "");
}

input_file::input_file(std::string path)
    : path_(std::move(path)),
      fd_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) {
        throw cannot_open(path_);
    }
    struct stat st {};
    if (::fstat(fd_, &st) != 0 || !S_ISREG(st.st_mode)) {
        ::close(fd_);
        throw error("not a regular file").in(path_);
    }
    size_ = static_cast<uint64_t>(st.st_size);
}

input_file::~input_file() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

input_file::input_file(input_file && other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_) {}

void input_file::read_at(uint64_t offset, void * dst, size_t n) const {
    auto * p = static_cast<char *>(dst);
    while (n > 0) {
        const ssize_t got = ::pread(fd_, p, n, static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            throw error(std::string("cannot read: ") + std::strerror(errno)).in(path_, static_cast<int64_t>(offset));
        }
        if (got == 0) {
            throw error("the file ends too early").in(path_, static_cast<int64_t>(offset));
        }
        p += got;
        n -= static_cast<size_t>(got);
        offset += static_cast<uint64_t>(got);
    }
}

}  // namespace moescope::io
