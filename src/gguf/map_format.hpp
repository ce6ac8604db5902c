#pragma once

#include <string>

#include "gguf/memory_map.hpp"

namespace moescope::gguf {

// The memory map as CSV: tensor_name,file_offset,size_bytes,layer_id,component_type,n_dims,dim0,dim1,dim2,dim3, and a
// last column part (from 1 on) where the model is split over several files.
// absolute: file_offset counts from the start of the file rather than of its data section.
std::string map_to_csv(const memory_map & map, const model_file & model, bool absolute);

// The memory map as JSON (memory-map.json): model, files, totals, and the list tensors. docs/memory-map.md.
std::string map_to_json(const memory_map & map, const model_file & model);

// Its totals alone, as one JSON object.
std::string map_totals_to_json(const memory_map & map);

}  // namespace moescope::gguf
