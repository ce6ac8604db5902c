#pragma once

// What the targets share: an input as a file, a promise that ends the run where it is broken, and what every source promises.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "logs/open.hpp"

namespace moescope::fuzz {

// Ends the run where it does not hold; also where assertions are compiled out.
inline void promised(bool holds, const char * what) {
    if (!holds) {
        std::fprintf(stderr, "broken: %s\n", what);
        std::abort();
    }
}

// Bytes as a file in memory, which readers open by its path.
class memory_file {
public:
    explicit memory_file(const std::string & bytes)
        : fd_(::memfd_create("fuzz", 0)),
          path_("/proc/self/fd/" + std::to_string(fd_)) {
        promised(::write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "a file in memory");
    }
    ~memory_file() { ::close(fd_); }
    memory_file(const memory_file &)             = delete;
    memory_file & operator=(const memory_file &) = delete;

    const std::string & path() const { return path_; }

private:
    int         fd_;
    std::string path_;
};

inline std::string text_of(const uint8_t * data, size_t size) {
    return {reinterpret_cast<const char *>(data), size};
}

using expert_numbers = std::map<block_id, uint32_t>;

// What trace_source and block_rows say of a block. Adds up all that was read, so that two readings can be compared.
inline void read_block(const routed_ubatch & u, const block_rows & b, const expert_numbers & n_expert, uint64_t & sum) {
    const auto known = n_expert.find(b.layout->id());
    promised(known != n_expert.end() && known->second == b.layout->n_expert,
             "blocks() lists every block and its experts");
    for (uint32_t r = 0; r < b.n_rows; ++r) {
        promised(b.token_of(r) >= -1 && b.token_of(r) < static_cast<int32_t>(u.n_tokens()), "a row's token is there");
        sum = 31 * sum + static_cast<uint32_t>(b.token_of(r));
    }
    for (size_t i = 0; i < size_t{b.n_rows} * b.layout->n_expert_used; ++i) {
        promised(b.id(i) < b.layout->n_expert, "an id is below the number of experts");
        sum = 31 * sum + b.id(i);
    }
    for (const column c : float_columns) {
        const float * values = b.values_of(c);
        for (size_t i = 0; values != nullptr && i < size_t{b.n_rows} * b.layout->width(c); ++i) {
            uint32_t bits;
            std::memcpy(&bits, &values[i], sizeof(bits));
            sum = 31 * sum + bits;
        }
    }
}

// All that is left to read of a source.
inline uint64_t read_rows(trace::trace_source & source) {
    expert_numbers n_expert;
    for (const block_layout & l : source.blocks()) {
        n_expert[l.id()] = l.n_expert;
    }
    uint64_t sum = 0;
    for (routed_ubatch u; source.next(u);) {
        promised(u.pos.size() == u.n_tokens() && u.seq.size() == u.n_tokens() && u.phases.size() == u.n_tokens(),
                 "every token has a position, a sequence and a phase");
        for (const uint8_t p : u.phases) {
            promised(p <= static_cast<uint8_t>(phase::decode), "a phase is one of two");
        }
        for (const block_rows & b : u.blocks) {
            read_block(u, b, n_expert, sum);
        }
    }
    return sum;
}

// Throws error where the file is none, or damaged.
inline void read_source(const std::string & path) {
    const auto     source = logs::open_source(path);
    const uint64_t once   = read_rows(*source);
    source->rewind();
    promised(read_rows(*source) == once, "what is read again is the same");
}

}  // namespace moescope::fuzz
