#include "io/output_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fmt/format.h>

#include "core/error.hpp"
#include "io/temporary.hpp"
#include "io/write_whole.hpp"

namespace moescope::io {

namespace {

bool is_device_or_pipe(const std::string & path) {
    struct stat s = {};
    return ::stat(path.c_str(), &s) == 0 && !S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode);
}

}  // namespace

void output_file::check(const std::string & path, existing_file policy, const std::vector<std::string> & inputs) {
    std::error_code unknown;
    if (std::filesystem::is_directory(path, unknown)) {
        throw error("this is a folder").in(path).fix("give -o a file name");
    }
    refuse_input(path, inputs);
    if (!is_device_or_pipe(path)) {
        refuse_existing(path, policy);
    }
}

output_file::output_file(std::string path, existing_file policy, const std::vector<std::string> & inputs)
    : path_(behind_links(path)) {
    check(path_, policy, inputs);
    if (is_device_or_pipe(path_)) {
        fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
        if (fd_ < 0) {
            throw error(std::string("cannot open: ") + std::strerror(errno)).in(path_);
        }
        return;
    }
    temporary_ = path_ + ".XXXXXX";
    fd_        = make_temporary_file(temporary_);
    if (fd_ < 0) {
        throw error(std::string("cannot create: ") + std::strerror(errno))
            .in(path_)
            .fix("choose another place with -o");
    }
}

output_file::~output_file() {
    close();
    if (!in_place()) {
        ::unlink(temporary_.c_str());
    }
}

void output_file::fail(const char * what) const {
    error e(std::string(what) + ": " + std::strerror(errno));
    throw e.in(path_).fix(in_place() ? "" : "nothing was left behind");
}

std::FILE * output_file::stream() {
    if (stream_ == nullptr) {
        stream_ = ::fdopen(fd_, "w");
    }
    return stream_;
}

void output_file::reserve(uint64_t size) {
    reserved_ = size;
    if (in_place()) {
        return;
    }
    struct statvfs disk {};
    if (::fstatvfs(fd_, &disk) == 0) {
        const uint64_t free = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
        if (free < size) {
            throw error(fmt::format("the disk has {} bytes left, but this file needs {}", free, size))
                .in(path_)
                .fix("choose another place with -o");
        }
    }
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) {
        fail("cannot write");
    }
}

void output_file::write_at(uint64_t offset, const void * data, size_t n) {
    if (in_place()) {
        write_on(offset, data, n);
        return;
    }
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

// Into what knows no places, with zeros up to this one.
void output_file::write_on(uint64_t offset, const void * data, size_t n) {
    if (offset < written_) {
        throw error("a device or a pipe can only be written from beginning to end").in(path_);
    }
    static constexpr char zeros[4096] = {};
    const auto            put         = [&](const void * bytes, size_t size) {
        if (const int why = write_whole(fd_, bytes, size); why != 0) {
            errno = why;
            fail("cannot write");
        }
        written_ += size;
    };
    while (written_ < offset) {
        put(zeros, std::min<uint64_t>(sizeof(zeros), offset - written_));
    }
    put(data, n);
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

void output_file::close() {
    if (stream_ != nullptr) {
        std::fclose(std::exchange(stream_, nullptr));
        fd_ = -1;
    } else if (fd_ >= 0) {
        ::close(std::exchange(fd_, -1));
    }
}

void output_file::commit() {
    if (in_place() && written_ < reserved_) {
        write_on(reserved_, nullptr, 0);
    }
    bool written = true;
    if (stream_ != nullptr) {
        written = std::ferror(stream_) == 0;
        written = std::fclose(std::exchange(stream_, nullptr)) == 0 && written;
    } else {
        written = ::close(fd_) == 0;
    }
    fd_ = -1;
    if (!written) {
        fail("cannot write");
    }
    if (!in_place()) {
        if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
            fail("cannot rename into place");
        }
        temporary_.clear();
    }
}

}  // namespace moescope::io
