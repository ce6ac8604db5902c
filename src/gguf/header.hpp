#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <ggml.h>
#include <gguf.h>

#include "io/input_file.hpp"

namespace moescope::gguf {

// One key of the metadata and the bytes that hold it, key and type included, so that it can be copied unchanged
// (ggml's own gguf_set_kv cuts strings at a NUL byte, which some vocabularies contain).
struct metadata_entry {
    std::string key;
    gguf_type   type      = GGUF_TYPE_COUNT;  // GGUF_TYPE_ARRAY for arrays
    gguf_type   item_type = GGUF_TYPE_COUNT;  // of an array's items; the type itself otherwise
    uint64_t    n_items   = 1;
    uint64_t    begin     = 0;  // file offsets: [begin, end)
    uint64_t    end       = 0;
};

struct tensor_info {
    std::string            name;
    ggml_type              type   = GGML_TYPE_COUNT;
    uint32_t               n_dims = 0;  // as stored
    std::array<int64_t, 4> ne     = {1, 1, 1, 1};
    uint64_t               offset = 0;  // bytes from the start of the data section
    uint64_t               size   = 0;  // bytes, from ggml's type traits

    uint64_t end() const { return offset + size; }
};

// The header of one GGUF file, read with every length and count checked against the file before it is believed.
// ggml's own reader cannot be given an arbitrary file: some shapes overflow its checks, and a wrong type aborts.
struct file_header {
    uint32_t                    version       = 0;
    uint32_t                    alignment     = GGUF_DEFAULT_ALIGNMENT;
    uint64_t                    tensors_begin = 0;  // file offset of the tensor infos
    uint64_t                    tensors_end   = 0;
    uint64_t                    data_begin    = 0;  // file offset of the data section
    std::vector<metadata_entry> metadata;
    std::vector<tensor_info>    tensors;

    const metadata_entry * find(const std::string & key) const;
};

// Throws error with the offset of the first byte that makes no sense. Where the data lies is not judged here: see
// find_layout_problems.
file_header read_header(const io::input_file & file);

// What is wrong with where the tensors lie: overlapping pairs, data outside the file, misaligned or unexpected offsets.
// Each problem is one sentence that names the tensors. Empty means that ggml can load the file.
std::vector<std::string> find_layout_problems(const file_header & header, uint64_t file_size);

}  // namespace moescope::gguf
