#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace moescope {

// What went wrong, where, and what to do about it. Library code throws this and nothing else of its own;
// src/cli turns it into one line on stderr and an exit code.
class error : public std::runtime_error {
public:
    static constexpr int64_t no_offset = -1;

    // what: one clause without a final stop, e.g. "the file ends inside tensor data".
    explicit error(std::string what);
    error & in(std::string file, int64_t byte_offset = no_offset);  // which file, and where in it
    error & fix(std::string advice);                                // what the user can do

    // "FILE: WHAT (at byte N); ADVICE", of the parts that are known.
    const char * what() const noexcept override { return line_.c_str(); }

    const std::string & reason() const noexcept { return what_; }  // what alone, without place and advice
    const std::string & advice() const noexcept { return advice_; }
    const std::string & file() const noexcept { return file_; }
    int64_t             offset() const noexcept { return offset_; }

private:
    void compose();

    std::string what_, file_, advice_, line_;
    int64_t     offset_ = no_offset;
};

// The command line asks for something that does not exist or does not go together: exit code 2.
class usage_error : public error {
public:
    using error::error;
    // As in error, but what is thrown stays a usage_error.
    usage_error & in(std::string file, int64_t byte_offset = no_offset) {
        error::in(std::move(file), byte_offset);
        return *this;
    }
    usage_error & fix(std::string advice) {
        error::fix(std::move(advice));
        return *this;
    }
};

}  // namespace moescope
