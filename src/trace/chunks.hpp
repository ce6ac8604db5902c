#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trace/format.hpp"
#include "trace/mapped_file.hpp"

namespace moescope::trace {

// Where a whole chunk lies in a file. Its payload's hash has not been checked yet.
struct chunk_place {
    chunk_kind kind;
    uint64_t   offset;   // of the payload
    uint64_t   size;     // of the payload
    uint64_t   hash;
};

// What is wrong with a file's end or middle.
struct damage {
    enum class kind { none, cut, broken } what = kind::none;   // cut: the file simply ends inside a chunk
    uint64_t    offset = 0;        // of the first byte that cannot be used
    uint64_t    lost   = 0;        // bytes from there on
    std::string reason;
};

// The chunks of one file, found by walking their headers; can go on when the file has grown.
class chunk_list {
public:
    // Throws error unless the file begins as a trace of a known version.
    explicit chunk_list(const std::string & path);

    // Looks for what was appended since. Returns whether new chunks are there.
    bool refresh();

    const std::vector<chunk_place> & chunks() const { return chunks_; }
    const damage &                   state() const { return state_; }
    const mapped_file &              file() const { return file_; }

    const uint8_t * payload(const chunk_place & c) const { return file_.data() + c.offset; }
    // Whether the payload is what was written.
    bool intact(const chunk_place & c) const { return hash_bytes(payload(c), c.size) == c.hash; }

private:
    void walk();

    mapped_file              file_;
    std::vector<chunk_place> chunks_;
    uint64_t                 next_ = 0;   // where the next chunk begins
    damage                   state_;
};

}  // namespace moescope::trace
