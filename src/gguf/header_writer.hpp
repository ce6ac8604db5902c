#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gguf/header.hpp"
#include "io/input_file.hpp"

namespace moescope::gguf {

// Composes the header of a new GGUF file out of an old one's metadata and new tensor infos.
class header_writer {
public:
    // Takes over a key of another file byte for byte.
    void copy(const io::input_file & file, const metadata_entry & entry);
    // The same, with its value (an integer) replaced.
    void copy_with_value(const io::input_file & file, const metadata_entry & entry, uint64_t value);

    void add(const std::string & key, const std::string & value);
    void add(const std::string & key, uint32_t value);
    void add(const std::string & key, uint64_t value);
    void add(const std::string & key, const std::vector<int32_t> & values);
    void add(const std::string & key, const std::vector<std::string> & values);

    // The complete header for these tensors, padded to the alignment: the data section follows it directly.
    std::string finish(const std::vector<tensor_info> & tensors, uint32_t alignment) const;

private:
    void begin(const std::string & key, gguf_type type);

    std::string metadata_;
    uint64_t    n_metadata_ = 0;
};

}  // namespace moescope::gguf
