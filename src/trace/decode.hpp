#pragma once

// Reads values out of a payload whose hash fits, but which a hostile or buggy writer may have filled: every length is
// checked, and an error names the offset in the file.

#include <cstdint>
#include <cstring>
#include <string>

#include "core/error.hpp"
#include "trace/format.hpp"

namespace moescope::trace {

class decoder {
public:
    decoder(const uint8_t * data, uint64_t size, uint64_t file_offset)
        : data_(data),
          size_(size),
          origin_(file_offset) {}

    bool     done() const { return at_ == size_; }
    uint64_t left() const { return size_ - at_; }
    uint64_t position() const { return at_; }

    const uint8_t * take(uint64_t n) {
        if (n > left()) {
            fail("a record is longer than its chunk");
        }
        const uint8_t * p = data_ + at_;
        at_ += n;
        return p;
    }
    template <class T>
    T value() {
        T v;
        std::memcpy(&v, take(sizeof(T)), sizeof(T));
        return v;
    }
    void skip_padding(uint64_t alignment) { take(padded(at_, alignment) - at_); }

    std::string text() {
        const uint32_t n = value<uint32_t>();
        const auto *   p = reinterpret_cast<const char *>(take(n));
        std::string    s(p, n);
        skip_padding(4);
        return s;
    }
    text_pairs pairs() {
        text_pairs list;
        while (!done()) {
            std::string key = text();
            list.emplace_back(std::move(key), text());
        }
        return list;
    }

    [[noreturn]] void fail(const std::string & what) const {
        throw error(what).in({}, static_cast<int64_t>(origin_ + at_));
    }

private:
    const uint8_t * data_;
    uint64_t        size_;
    uint64_t        origin_;
    uint64_t        at_ = 0;
};

}  // namespace moescope::trace
