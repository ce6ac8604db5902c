#include "io/output_file.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace moescope::io {

output_file::output_file(std::string path) : path_(std::move(path)), temporary_(path_ + ".XXXXXX") {
    fd_ = ::mkostemp(temporary_.data(), O_CLOEXEC);
    if (fd_ < 0) {
        throw error(std::string("cannot create: ") + std::strerror(errno)).in(path_);
    }
    const mode_t mask = ::umask(0);
    ::umask(mask);
    ::fchmod(fd_, 0666 & ~mask);
}

output_file::~output_file() {
    if (fd_ >= 0) {
        ::close(fd_);
        ::unlink(temporary_.c_str());
    }
}

void output_file::fail(const char * what) const {
    throw error(std::string(what) + ": " + std::strerror(errno)).in(path_).fix("nothing was left behind");
}

void output_file::reserve(uint64_t size) {
    struct statvfs disk {};
    if (::fstatvfs(fd_, &disk) == 0) {
        const uint64_t free = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
        if (free < size) {
            throw error(fmt::format("the disk has {} bytes left, and this file needs {}", free, size))
                .in(path_)
                .fix("choose another place with -o");
        }
    }
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) {
        fail("cannot write");
    }
}

void output_file::write_at(uint64_t offset, const void * data, size_t n) {
    const auto * p = static_cast<const char *>(data);
    while (n > 0) {
        const ssize_t put = ::pwrite(fd_, p, n, static_cast<off_t>(offset));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            fail("cannot write");
        }
        p += put;
        n -= static_cast<size_t>(put);
        offset += static_cast<uint64_t>(put);
    }
}

void output_file::copy_from(const input_file & source, uint64_t source_offset, uint64_t offset, uint64_t n,
                            const std::function<void(uint64_t)> & on_bytes) {
    constexpr uint64_t step = 32u << 20, buffer_size = 4u << 20;
    std::vector<char>  buffer;
    while (n > 0) {
        uint64_t done = 0;
        if (copy_in_kernel_) {
            auto          from = static_cast<off_t>(source_offset), to = static_cast<off_t>(offset);
            const ssize_t some = ::copy_file_range(source.fd(), &from, fd_, &to, std::min(n, step), 0);
            if (some < 0 && errno == ENOSPC) {
                fail("cannot write");
            }
            copy_in_kernel_ = some > 0;  // two file systems, or one that cannot: by hand from here on
            done            = some > 0 ? static_cast<uint64_t>(some) : 0;
        }
        if (done == 0) {
            done = std::min(n, buffer_size);
            buffer.resize(buffer_size);
            source.read_at(source_offset, buffer.data(), done);
            write_at(offset, buffer.data(), done);
        }
        source_offset += done;
        offset += done;
        n -= done;
        if (on_bytes) {
            on_bytes(done);
        }
    }
}

void output_file::commit() {
    if (::close(std::exchange(fd_, -1)) != 0) {
        ::unlink(temporary_.c_str());
        fail("cannot write");
    }
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
        const int why = errno;
        ::unlink(temporary_.c_str());
        errno = why;
        fail("cannot rename into place");
    }
}

}  // namespace moescope::io
