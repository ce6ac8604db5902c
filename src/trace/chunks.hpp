#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/hash.hpp"
#include "io/mapped_file.hpp"
#include "trace/format.hpp"

namespace moescope::trace {

// Where a whole chunk lies in a file. Its payload's hash has not been checked yet.
struct chunk_place {
    chunk_kind kind;
    uint64_t   offset;  // of the payload
    uint64_t   size;    // of the payload
    uint64_t   hash;
};

// Rows and memory chunks that follow each other (kind is rows), or one chunk of another kind. A program that decodes token by
// token writes a rows chunk for each, a server a memory chunk for each request, and a reader must not need memory for each.
struct chunk_run {
    chunk_kind kind;
    uint64_t   begin;           // of the first chunk's header
    uint64_t   end;             // behind the last chunk
    bool       memory = false;  // some of the chunks are memory chunks
};

// What is wrong with a file's end or middle.
struct damage {
    enum class kind { none, cut, broken } what = kind::none;  // cut: the file simply ends inside a chunk
    uint64_t    offset                         = 0;           // of the first byte that cannot be used
    uint64_t    lost                           = 0;           // bytes from there on
    std::string reason;
};

// The chunks of one file, found by walking their headers; can go on when the file has grown.
class chunk_list {
public:
    // Throws error unless the file begins as a trace of a known version.
    explicit chunk_list(const std::string & path);

    // Looks for what was appended since, which may lengthen the last run. Returns whether new chunks are there.
    bool refresh();
    void settle() { file_.settle(); }  // nothing will be appended

    const std::vector<chunk_run> & runs() const { return runs_; }
    const damage &                 state() const { return state_; }
    const io::mapped_file &        file() const { return file_; }
    // The errno that ended the writing of this file; 0: it ended otherwise, or goes on.
    int stopped() const;

    // The chunk whose header is at this offset: a run's begin, or next_of() an earlier chunk of it.
    chunk_place     chunk_at(uint64_t header) const;
    static uint64_t next_of(const chunk_place & c) { return c.offset + padded(c.size, 8); }

    const uint8_t * payload(const chunk_place & c) const { return file_.data() + c.offset; }
    // Whether the payload is what was written.
    bool intact(const chunk_place & c) const { return io::hash_bytes(payload(c), c.size) == c.hash; }

private:
    void walk();
    void add_to_runs(chunk_kind kind, uint64_t end);

    io::mapped_file        file_;
    std::vector<chunk_run> runs_;
    uint64_t               next_ = 0;  // where the next chunk begins
    damage                 state_;
};

// An error about the file's contents at this offset.
[[noreturn]] void throw_broken(const chunk_list & list, uint64_t offset, const std::string & reason);

}  // namespace moescope::trace
