#pragma once

#include <cstring>
#include <string>

#include "trace/format.hpp"

namespace moescope::test {

// Checksums keep everything that is damaged out of what lies behind them. This makes those of a trace right, chunk by chunk as
// far as there are chunks, so that readers meet what is wrong.
inline void make_checksums_right(std::string & bytes) {
    using trace::chunk_header;
    for (size_t at = sizeof(trace::file_header); at + sizeof(chunk_header) <= bytes.size();) {
        chunk_header h;
        std::memcpy(&h, &bytes[at], sizeof(h));
        if (std::memcmp(h.magic, trace::chunk_magic, sizeof(h.magic)) != 0) {
            return;
        }
        const size_t left = bytes.size() - at - sizeof(h);
        const size_t size = h.size < left ? h.size : left;
        h = trace::make_chunk_header(static_cast<trace::chunk_kind>(h.kind), bytes.data() + at + sizeof(h), size);
        std::memcpy(&bytes[at], &h, sizeof(h));
        at += sizeof(h) + trace::padded(size, 8);
    }
}

}  // namespace moescope::test
