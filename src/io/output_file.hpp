#pragma once

#include "io/input_file.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace moescope::io {

// A file that is written under a temporary name beside its own, and takes its own when it is complete.
// Without commit() nothing is left behind.
class output_file {
public:
    explicit output_file(std::string path);  // throws error when the folder cannot be written
    ~output_file();
    output_file(const output_file &)             = delete;
    output_file & operator=(const output_file &) = delete;

    // Makes the file `size` bytes long. Throws error when the disk has not that much room left.
    void reserve(uint64_t size);

    void write_at(uint64_t offset, const void * data, size_t n);

    // Copies n bytes of another file within the kernel where it can, else through a buffer of 4 MiB.
    // on_bytes, where given, hears how many more bytes are copied; it may throw to stop.
    void copy_from(const input_file & source, uint64_t source_offset, uint64_t offset, uint64_t n,
                   const std::function<void(uint64_t)> & on_bytes = {});

    void commit();  // renames into place, replacing what is there

private:
    [[noreturn]] void fail(const char * what) const;

    std::string path_, temporary_;
    int         fd_             = -1;
    bool        copy_in_kernel_ = true;
};

}  // namespace moescope::io
