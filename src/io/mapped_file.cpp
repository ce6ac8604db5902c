#include "io/mapped_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.hpp"
#include "io/input_file.hpp"

namespace moescope::io {

mapped_file::mapped_file(const std::string & path) : path_(path) {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd_ < 0) {
        throw cannot_open(path);
    }
    try {
        map();
    } catch (...) {
        ::close(fd_);
        throw;
    }
}

mapped_file::~mapped_file() {
    unmap();
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

mapped_file::mapped_file(mapped_file && other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

mapped_file & mapped_file::operator=(mapped_file && other) noexcept {
    std::swap(path_, other.path_);
    std::swap(fd_, other.fd_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

void mapped_file::map() {
    struct stat st = {};
    if (::fstat(fd_, &st) != 0) {
        throw error(std::string("cannot read: ") + std::strerror(errno)).in(path_);
    }
    if (!S_ISREG(st.st_mode)) {
        throw error("not a regular file").in(path_);
    }
    size_ = static_cast<uint64_t>(st.st_size);
    if (size_ == 0) {
        data_ = nullptr;
        return;
    }
    void * p = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd_, 0);
    if (p == MAP_FAILED) {
        size_ = 0;
        throw error(std::string("cannot map: ") + std::strerror(errno)).in(path_);
    }
    data_ = static_cast<const uint8_t *>(p);
}

void mapped_file::unmap() {
    if (data_ != nullptr) {
        ::munmap(const_cast<uint8_t *>(data_), size_);
        data_ = nullptr;
    }
}

void mapped_file::refresh() {
    if (fd_ >= 0) {
        unmap();
        map();
    }
}

void mapped_file::settle() {
    if (fd_ >= 0) {
        ::close(std::exchange(fd_, -1));
    }
}

void mapped_file::release(uint64_t offset, uint64_t size) const {
    const uint64_t page  = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    const uint64_t begin = offset / page * page;  // a page that is needed again is only read again
    const uint64_t end   = (offset + size) / page * page;
    if (end > begin) {
        ::madvise(const_cast<uint8_t *>(data_) + begin, end - begin, MADV_DONTNEED);
    }
}

void mapped_file::release_before(uint64_t at, uint64_t & released) const {
    if (at >= released + step) {
        release(released, at - released);
        released = at;
    }
}

void mapped_file::read_on(uint64_t at, uint64_t & released) const {
    const uint64_t before = released;
    release_before(at, released);
#ifdef MADV_POPULATE_READ  // Linux 5.14; where it does not work, pages come as they are touched
    if (released != before) {
        const uint64_t page  = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
        const uint64_t begin = at / page * page;
        ::madvise(const_cast<uint8_t *>(data_) + begin, std::min(step, size_ - begin), MADV_POPULATE_READ);
    }
#endif
}

}  // namespace moescope::io
