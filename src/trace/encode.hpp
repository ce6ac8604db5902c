#pragma once

// A growing byte buffer that knows the trace's alignment and texts.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "trace/format.hpp"

namespace moescope::trace {

class encoder {
public:
    // Appends `size` bytes to be filled by the caller; the pointer is valid until the next append.
    void * grow(size_t size) {
        const size_t at = bytes_.size();
        bytes_.resize(at + size);
        return bytes_.data() + at;
    }
    void raw(const void * data, size_t size) {
        if (size > 0) {
            std::memcpy(grow(size), data, size);
        }
    }
    template <class T>
    void value(T v) {
        raw(&v, sizeof(v));
    }
    void pad(size_t alignment) { bytes_.resize(padded(bytes_.size(), alignment)); }
    void text(const std::string & s) {
        value(static_cast<uint32_t>(s.size()));
        raw(s.data(), s.size());
        pad(4);
    }
    void pairs(const text_pairs & list) {
        for (const auto & [key, val] : list) {
            text(key);
            text(val);
        }
    }

    template <class T>
    T * at(size_t offset) {
        return reinterpret_cast<T *>(bytes_.data() + offset);
    }
    const uint8_t * data() const { return bytes_.data(); }
    size_t          size() const { return bytes_.size(); }
    void            clear() { bytes_.clear(); }
    void            shrink(size_t size) { bytes_.resize(size); }

private:
    std::vector<uint8_t> bytes_;
};

}  // namespace moescope::trace
