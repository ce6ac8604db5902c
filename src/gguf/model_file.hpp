#pragma once

#include <string>
#include <vector>

#include "gguf/header.hpp"
#include "gguf/metadata.hpp"
#include "io/input_file.hpp"

namespace moescope::gguf {

// A GGUF model, in one file or split over several (the -00001-of-00003.gguf kind), open for reading.
// Only headers are read; the tensor data stays where it is.
class model_file {
public:
    struct tensor : tensor_info {
        size_t part = 0;  // index into parts()
    };
    struct part {
        io::input_file file;
        file_header    header;
    };

    // path: the file, or the first of a split model; the other parts are found by their names.
    // Throws error for anything that llama.cpp could not load: malformed headers, data outside the file, overlapping
    // tensors, missing or foreign parts, and where ggml's own reader refuses the header or reads it differently.
    explicit model_file(const std::string & path);

    const std::string &         path() const { return parts_.front().file.path(); }
    const std::vector<part> &   parts() const { return parts_; }
    std::vector<std::string>    paths() const;                         // of the parts
    const std::vector<tensor> & tensors() const { return tensors_; }   // in file order, part after part
    const tensor *              find(const std::string & name) const;  // nullptr where there is none

    const model_metadata & metadata() const { return metadata_; }  // of the first part

private:
    model_metadata add_part(const std::string & path);
    void           add_further_parts(const std::string & path, uint64_t n_split);

    std::vector<part>   parts_;
    std::vector<tensor> tensors_;
    model_metadata      metadata_;  // after the two that its initialiser fills
};

// The names of all parts of the model whose first part is `path`, which says it has n_split of them.
// Throws error when the name does not follow the pattern of the first part.
std::vector<std::string> split_part_paths(const std::string & path, uint64_t n_split);

// The files of a model by their names alone, whether they exist or not: all parts of "m-00001-of-00003.gguf", whichever
// of them is given; `path` alone if the name is not that of a part.
std::vector<std::string> paths_by_name(const std::string & path);

// Every layout problem of every part, each with its file in front; for files that model_file refuses to open as well.
// Throws error only where a header cannot be read.
std::vector<std::string> check_model_layout(const std::string & path);

}  // namespace moescope::gguf
