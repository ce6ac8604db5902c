#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "io/input_file.hpp"

namespace moescope::gguf {

// Reads a file front to back through a small window, and refuses to pass its end.
class byte_cursor {
public:
    explicit byte_cursor(const io::input_file & file)
        : file_(file),
          window_(static_cast<size_t>(std::min<uint64_t>(window_size, file.size()))) {}

    uint64_t position() const { return begin_ + at_; }
    uint64_t remaining() const { return file_.size() - position(); }

    template <class T>
    T get(const char * what) {
        T value;
        copy(&value, sizeof(value), what);
        return value;
    }

    // A string as GGUF stores it: a u64 length and the bytes.
    std::string get_string(const char * what) {
        const uint64_t n = get_length(what);
        std::string    s(static_cast<size_t>(n), '\0');
        copy(s.data(), s.size(), what);
        return s;
    }

    void skip_string(const char * what) { skip(get_length(what), what); }

    void skip(uint64_t n, const char * what) {
        need(n, what);
        if (n <= filled_ - at_) {
            at_ += static_cast<size_t>(n);
        } else {
            begin_  = position() + n;
            at_     = 0;
            filled_ = 0;
        }
    }

    [[noreturn]] void fail(const std::string & what) const { fail_at(what, position()); }
    [[noreturn]] void fail_at(const std::string & what, uint64_t offset) const {
        throw error(what).in(file_.path(), static_cast<int64_t>(offset));
    }

private:
    static constexpr size_t window_size = 256 * 1024;

    void need(uint64_t n, const char * what) const {
        if (n > remaining()) {
            fail(std::string("the file ends inside ") + what);
        }
    }

    uint64_t get_length(const char * what) {
        const uint64_t at = position();
        const auto     n  = get<uint64_t>(what);
        if (n > remaining()) {
            fail_at(std::string(what) + " is said to be " + std::to_string(n) + " bytes long, past the end of the file",
                    at);
        }
        return n;
    }

    void copy(void * dst, size_t n, const char * what) {
        need(n, what);
        auto * p = static_cast<char *>(dst);
        while (n > 0) {
            if (at_ == filled_) {
                refill();
            }
            const size_t some = std::min(n, filled_ - at_);
            std::memcpy(p, window_.data() + at_, some);
            p += some;
            at_ += some;
            n -= some;
        }
    }

    void refill() {
        begin_ += at_;
        at_     = 0;
        filled_ = static_cast<size_t>(std::min<uint64_t>(window_.size(), file_.size() - begin_));
        file_.read_at(begin_, window_.data(), filled_);
    }

    const io::input_file & file_;
    std::vector<char>      window_;
    uint64_t               begin_  = 0;  // file offset of the window
    size_t                 at_     = 0;  // position in the window
    size_t                 filled_ = 0;
};

}  // namespace moescope::gguf
