#pragma once

// Traces in files, and everything a reader hands out as comparable bytes.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <unistd.h>

#include "core/error.hpp"
#include "planted_trace.hpp"
#include "scratch_folder.hpp"
#include "trace/reader.hpp"
#include "trace/writer.hpp"

namespace moescope::test {

inline std::string slurp(const std::string & path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

inline void spill(const std::string & path, const std::string & bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

template <class T>
void put(std::string & out, const T * values, size_t n) {
    out.append(reinterpret_cast<const char *>(values), n * sizeof(T));
}
template <class T>
void put(std::string & out, T value) {
    put(out, &value, 1);
}

inline std::string bytes_of(const block_layout & l) {
    std::string s;
    put(s, l.layer);
    put(s, l.block);
    for (const uint32_t v : {l.n_expert, l.n_expert_used, l.n_embd, l.flags, l.columns.bits()}) {
        put(s, v);
    }
    put(s, l.weight_sum);
    return s;
}

// Everything a ubatch says, down to the bits of its floats. Access lists by content, because their numbers may differ.
inline std::string bytes_of(const routed_ubatch & u, const access_list * access) {
    std::string s;
    put(s, u.time_ns);
    put(s, u.batch);
    put(s, u.n_tokens());
    put(s, u.token.data(), u.token.size());
    put(s, u.pos.data(), u.pos.size());
    put(s, u.seq.data(), u.seq.size());
    put(s, u.phases.data(), u.phases.size());
    for (const block_rows & b : u.blocks) {
        s += bytes_of(*b.layout);
        put(s, b.n_rows);
        for (uint32_t r = 0; r < b.n_rows; ++r) {
            put(s, b.token_of(r));
        }
        for (size_t i = 0; i < size_t(b.n_rows) * b.layout->n_expert_used; ++i) {
            put(s, b.id(i));
        }
        for (const column c : float_columns) {
            const float * values = b.values_of(c);
            put(s, values != nullptr);
            if (values != nullptr) {
                put(s, values, size_t(b.n_rows) * b.layout->width(c));
            }
        }
    }
    for (const access_entry & e : access ? *access : access_list()) {
        s += e.op + '\n' + e.dst + '\n';
        put(s, e.layer);
        put(s, e.block);
        for (const std::string & source : e.sources) {
            s += source + '\n';
        }
    }
    return s;
}

inline const access_list * access_of(const trace::trace_source & source, const routed_ubatch & u) {
    return u.access == 0 ? nullptr : &source.access_lists().at(u.access - 1);
}

struct reading {
    std::vector<std::string> ubatches;  // bytes of each that was handed out
    std::string              problem;   // what was thrown, if anything
    bool                     opened     = false;
    bool                     ended      = false;
    uint64_t                 lost_bytes = 0;
    std::string              unread_part;
    std::string              model;  // the names in it
};

// Reads a file as far as it goes, with what was taken back or without it. Anything but moescope::error passes through and fails the test.
inline reading read_all(const std::string & path, bool with_removed = false) {
    reading r;
    try {
        trace::trace_reader reader(path);
        reader.include_taken_back(with_removed);
        r.opened      = true;
        r.ended       = reader.info().ended;
        r.lost_bytes  = reader.info().lost_bytes;
        r.unread_part = reader.info().unread_part;
        r.model       = reader.model().architecture + '\n' + reader.model().name + '\n' + reader.model().file;
        for (routed_ubatch u; reader.next(u);) {
            r.ubatches.push_back(bytes_of(u, access_of(reader, u)));
        }
    } catch (const error & e) {
        r.problem = e.what();
    }
    return r;
}

inline std::vector<std::string> expected(const std::vector<planted::ubatch_data> & ubatches,
                                         const access_list *                       access = nullptr) {
    std::vector<std::string> list;
    for (const auto & u : ubatches) {
        list.push_back(bytes_of(u.view, access));
    }
    return list;
}

inline bool is_prefix(const std::vector<std::string> & part, const std::vector<std::string> & whole) {
    return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
}

}  // namespace moescope::test
