#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/error.hpp"

namespace moescope::io {

// Why open() just failed (errno), to be thrown: names the file, and what to do about the common reasons.
error cannot_open(const std::string & path);

// A file open for reading, by position: no shared cursor, so several readers may use one.
class input_file {
public:
    // Throws error when the path cannot be opened or is not a regular file.
    explicit input_file(std::string path);
    ~input_file();
    input_file(input_file && other) noexcept;
    input_file & operator=(input_file &&) = delete;

    const std::string & path() const { return path_; }
    uint64_t            size() const { return size_; }  // bytes, when it was opened
    int                 fd() const { return fd_; }

    // Fills dst with the n bytes from offset on. Throws error when the file has fewer or cannot be read.
    void read_at(uint64_t offset, void * dst, size_t n) const;

private:
    std::string path_;
    int         fd_   = -1;
    uint64_t    size_ = 0;
};

}  // namespace moescope::io
