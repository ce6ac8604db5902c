#include "io/byte_sink.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.hpp"
#include "io/write_whole.hpp"

namespace moescope::io {

namespace {

bool is_regular(const std::string & path) {
    struct stat st = {};
    return ::lstat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

// A descriptor behind the three standard ones: a host that runs without its stderr would else write its messages into the
// trace.
int behind_standard_ones(int fd) {
    constexpr int first_other = 3;
    if (fd < 0 || fd >= first_other) {
        return fd;
    }
    const int higher = ::fcntl(fd, F_DUPFD_CLOEXEC, first_other);
    ::close(fd);
    return higher;
}

class file_sink final : public byte_sink {
public:
    file_sink(std::string path, existing_file policy, const file_kind & own) : path_(std::move(path)) {
        refuse_existing(path_, policy, own);
        const bool replace = policy != existing_file::refuse;
        if (replace && is_regular(path_)) {
            ::unlink(path_.c_str());  // whoever still reads or writes the file before keeps it
        }
        const int mode = replace ? O_TRUNC : O_EXCL;
        fd_ = behind_standard_ones(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND | mode, 0666));
        if (fd_ < 0 && errno == EEXIST) {
            throw error("the file exists").in(path_).fix("choose another name or give --force");
        }
        if (fd_ < 0 || ::fstat(fd_, &opened_) != 0) {
            throw error(std::string("cannot create: ") + std::strerror(errno))
                .in(path_)
                .fix("choose another place with -o");
        }
    }
    ~file_sink() override {
        if (still_ours()) {
            ::close(fd_);
        }
    }
    file_sink(const file_sink &)             = delete;
    file_sink & operator=(const file_sink &) = delete;

    void write(const void * data, size_t size) override {
        if (!still_ours()) {
            throw error("the program closed this file, which it does not own").in(path_);
        }
        if (const int why = write_whole(fd_, data, size); why != 0) {
            failure_ = why;
            cut_back();
            throw error(std::string("cannot write: ") + std::strerror(why))
                .in(path_)
                .fix((size_ > 0 ? "what was written so far can be read; " : "") +
                     std::string("free some space, or choose another place"));
        }
        size_ += size;
    }
    uint64_t    size() const override { return size_; }
    std::string path() const override { return path_; }
    int         failure() const override { return failure_; }

    void amend(uint64_t offset, const void * data, size_t size) noexcept override {
        const int flags = ::fcntl(fd_, F_GETFL);
        if (flags < 0 || !still_ours() || !S_ISREG(opened_.st_mode) || offset + size > size_) {
            return;
        }
        ::fcntl(fd_, F_SETFL, flags & ~O_APPEND);  // under O_APPEND, Linux appends whatever the offset says
        if (::pwrite(fd_, data, size, static_cast<off_t>(offset)) < 0) {
            // It was worth a try.
        }
        ::fcntl(fd_, F_SETFL, flags);
    }

private:
    // Daemons close every descriptor they find, and what they open next gets the same number.
    bool still_ours() const {
        struct stat now = {};
        return ::fstat(fd_, &now) == 0 && now.st_dev == opened_.st_dev && now.st_ino == opened_.st_ino;
    }

    void cut_back() {
        if (::ftruncate(fd_, static_cast<off_t>(size_)) != 0) {
            // The reader ignores a torn last chunk; nothing more can be done here.
        }
    }

    std::string path_;
    int         fd_      = -1;
    struct stat opened_  = {};
    uint64_t    size_    = 0;
    int         failure_ = 0;
};

}  // namespace

std::unique_ptr<byte_sink> open_file_sink(const std::string & path, existing_file policy, const file_kind & own) {
    return std::make_unique<file_sink>(path, policy, own);
}

}  // namespace moescope::io
