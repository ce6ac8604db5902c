#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gguf/header_writer.hpp"
#include "gguf/model_file.hpp"

namespace moescope::prune {

// What becomes of one tensor in a copy.
struct tensor_slice {
    size_t               tensor = 0;  // index into model_file::tensors()
    bool                 whole  = true;
    int                  axis   = 0;  // the last dimension longer than 1, whose slabs are chosen
    std::vector<int32_t> kept;        // which of its ne[axis] slabs, ascending
    // Where set, changes the bytes of a tensor that is copied whole, some rows of `row_size` bytes at a time.
    std::function<void(char * rows, uint64_t n_rows, uint64_t first_row)> edit;
    uint64_t                                                              row_size = 0;
};

// Hears how many bytes of how many are written; false stops the copy with an error, leaving nothing behind.
using copy_progress = std::function<bool(uint64_t done, uint64_t total)>;

// The infos of the tensors in the copy: new shapes, sizes and offsets.
std::vector<gguf::tensor_info> sliced_tensors(const gguf::model_file & source, const std::vector<tensor_slice> & slices,
                                              uint32_t alignment);

// How large the file of write_sliced is.
uint64_t sliced_size(const gguf::model_file & source, const gguf::header_writer & metadata,
                     const std::vector<tensor_slice> & slices);

// Writes a GGUF file with these metadata and the chosen slabs of each tensor, in this order, byte for byte as they are.
// All into one file, whether or not the source is split. Uses a few MiB of memory whatever the size. Returns the size.
uint64_t write_sliced(const gguf::model_file & source, const gguf::header_writer & metadata,
                      const std::vector<tensor_slice> & slices, const std::string & path,
                      const copy_progress & progress = {});

}  // namespace moescope::prune
