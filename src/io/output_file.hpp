#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "io/existing_file.hpp"
#include "io/input_file.hpp"

namespace moescope::io {

// A file that appears as a whole or not at all: it is written under a temporary name beside its own, and commit()
// renames it. Without commit() nothing is left behind, and a file that was there before stays.
//
// Devices and pipes are not replaced but written to as they are, whatever the policy. What went into one cannot be
// taken back.
class output_file {
public:
    // Throws error where `path` cannot be written or is taken, usage_error where it is one of the inputs.
    explicit output_file(std::string path, existing_file policy = existing_file::replace,
                         const std::vector<std::string> & inputs = {});
    ~output_file();
    output_file(const output_file &)             = delete;
    output_file & operator=(const output_file &) = delete;

    // Throws what the constructor would throw if the name is taken: for callers that work long before they write.
    static void check(const std::string & path, existing_file policy, const std::vector<std::string> & inputs = {});

    // To write from front to back. Not together with the functions below.
    std::FILE * stream();

    // Makes the file `size` bytes long. Throws error when the disk has not that much room left.
    void reserve(uint64_t size);

    // What is left out between two places is zero. Only regular files can be written in any order; elsewhere going back
    // throws error.
    void write_at(uint64_t offset, const void * data, size_t n);

    // Copies n bytes of another file within the kernel where it can, else through a buffer of 4 MiB.
    // on_bytes, where given, hears how many more bytes are copied; it may throw to stop.
    void copy_from(const input_file & source, uint64_t source_offset, uint64_t offset, uint64_t n,
                   const std::function<void(uint64_t)> & on_bytes = {});

    void commit();  // the file is complete; throws error when it could not be written

private:
    [[noreturn]] void fail(const char * what) const;
    bool              in_place() const { return temporary_.empty(); }  // a device or a pipe
    void              write_on(uint64_t offset, const void * data, size_t n);
    void              close();

    std::string path_;       // behind links
    std::string temporary_;  // empty: written in place, or renamed
    int         fd_             = -1;
    std::FILE * stream_         = nullptr;  // owns fd_ where there is one
    uint64_t    reserved_       = 0;        // in place: how long it shall be …
    uint64_t    written_        = 0;        // … and is
    bool        copy_in_kernel_ = true;
};

}  // namespace moescope::io
