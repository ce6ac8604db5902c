#pragma once

// The bytes of a trace and the names of its files, as docs/trace-format.md gives them. Reader and writer share nothing
// but this.

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "io/existing_file.hpp"

namespace moescope::trace {

// Values lie in memory as they lie in the file.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "traces are little-endian: this machine would have to swap bytes");

inline constexpr char     file_magic[8]  = {'M', 'O', 'E', 'T', 'R', 'A', 'C', 'E'};
inline constexpr uint32_t format_version = 2;  // written; older ones are read
inline constexpr char     file_suffix[]  = ".moetrace";
inline constexpr char     chunk_magic[4] = {'C', 'H', 'N', 'K'};

inline constexpr io::file_kind trace_file = {{file_magic, sizeof(file_magic)}, "a trace"};

enum class chunk_kind : uint32_t {
    head   = 1,
    model  = 2,
    layout = 3,
    pieces = 4,
    access = 5,
    rows   = 6,
    counts = 7,
    note   = 8,
    end    = 9,
    memory = 10,
};

struct file_header {
    char     magic[8];
    uint32_t version;
    uint32_t stopped;  // errno of the write that ended the writing, put here when it failed; 0: none did
};
static_assert(sizeof(file_header) == 16);

struct chunk_header {
    char     magic[4];
    uint32_t kind;
    uint64_t size;       // of the payload, without padding
    uint64_t hash;       // XXH3-64 of the payload
    uint64_t head_hash;  // XXH3-64 of the fields above
};
static_assert(sizeof(chunk_header) == 32);

// A memory_event, with as many token_record behind it as it took back.
struct memory_record {
    uint32_t kind;
    int32_t  seq, to, p0, p1, delta, last;
    uint32_t why;
    uint32_t n_taken_back;
    uint32_t zero;
    uint64_t n_ubatches;
};
static_assert(sizeof(memory_record) == 48);

struct token_record {
    uint64_t ubatch;  // of the trace, from 0
    uint32_t token;   // its place in the ubatch
    uint32_t zero;
};
static_assert(sizeof(token_record) == 16);

struct block_record {
    int32_t  layer, block;
    uint32_t n_expert, n_expert_used, n_embd, flags, columns;
    float    weight_sum;
    uint32_t value_bytes;  // 4: f32, 2: f16
    uint32_t zero;
};
static_assert(sizeof(block_record) == 40);

struct frame_header {
    uint32_t size;  // of the whole frame, this header included
    uint32_t layout;
    uint64_t time_ns;
    uint32_t batch;
    uint32_t access;
    uint32_t n_tokens;
    uint32_t n_blocks;
};
static_assert(sizeof(frame_header) == 32);

struct counts_header {
    uint32_t layout, zero;
    uint64_t tokens, decoded, ubatches;
};
static_assert(sizeof(counts_header) == 32);

inline constexpr uint32_t frame_alignment  = 8;
inline constexpr uint32_t rows_mask        = (1u << 30) - 1;
inline constexpr uint32_t rows_have_tokens = 1u << 30;

using text_pairs = std::vector<std::pair<std::string, std::string>>;

chunk_header make_chunk_header(chunk_kind kind, const void * payload, size_t size);
bool         header_is_whole(const chunk_header & h);  // magic and head_hash fit

constexpr size_t padded(size_t size, size_t alignment) {
    return (size + alignment - 1) / alignment * alignment;
}

// The file of a trace's part, from 1: NAME.moetrace -> NAME.part2.moetrace.
std::string part_path(const std::string & path, uint32_t part);

// IEEE half precision, round to nearest even.
uint16_t to_f16(float value);
float    from_f16(uint16_t bits);

}  // namespace moescope::trace
